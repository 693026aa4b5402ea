"""Compressed pixels that end early in a complete file, which decoders fill up silently."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate, get_frame
from test_dicom_syntaxes import BASELINE, EXTENDED, SYNTAXES, compressed, pixels_of

from transforms.errors import UserError
from transforms.reading.limits import Limits, limited
from transforms.reading.mammogram import read_mammogram
from transforms.reading.photographs import read_photograph

PIXELS = np.tile(pixels_of(12), (4, 4))
SMALL = (PIXELS // 16).astype(np.uint8)
DARK_BELOW = np.vstack([SMALL, np.zeros((300, SMALL.shape[1]), np.uint8)])
"""As mammograms often are: whole images that end in a constant area must not be refused."""


def again(path: Path, frame: bytes) -> Path:
    header = dcmread(path)
    header.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2)])
    header["PixelData"].is_undefined_length = True
    header.save_as(path.with_name("again.dcm"))
    return path.with_name("again.dcm")


@pytest.mark.parametrize("ending", [b"", b"\xff\xd9", bytes(3000)], ids=["cut", "cut and ended", "cut and filled"])
@pytest.mark.parametrize("syntax", [*SYNTAXES, EXTENDED, BASELINE])
def test_dicom_frames_that_end_early(tmp_path: Path, syntax: str, ending: bytes) -> None:
    pixels, bits = (SMALL, 8) if syntax == BASELINE else (PIXELS, 12)
    path = compressed(tmp_path, pixels, bits, syntax)
    frame = get_frame(dcmread(path).PixelData, 0, number_of_frames=1)
    assert read_mammogram(again(path, frame)).pixels.shape == pixels.shape
    with pytest.raises(UserError, match=r"again\.dcm: damaged DICOM file: its .* pixels cannot be decoded"):
        read_mammogram(again(path, frame[: len(frame) // 2] + ending))


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_files_that_end_early(tmp_path: Path, progressive: bool) -> None:
    for name, pixels in {"a": SMALL, "dark": DARK_BELOW}.items():
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=95, progressive=progressive)
        content, path = buffer.getvalue(), tmp_path / f"{name}.jpg"
        path.write_bytes(content)
        with Image.open(path) as image:
            np.testing.assert_array_equal(read_mammogram(path).pixels, np.asarray(image))
        for ending in (b"", b"\xff\xd9", bytes(5000)):
            path.write_bytes(content[: len(content) // 2] + ending)
            with pytest.raises(UserError, match=rf"{name}\.jpg: .*damaged"):
                read_mammogram(path)


@pytest.mark.parametrize("color", [False, True])
def test_jpeg_files_that_end_less_than_a_row_of_blocks_early(tmp_path: Path, color: bool) -> None:
    """By their gray blocks, of which the last is one."""
    rows, columns = SMALL.shape
    pixels = SMALL[: rows - 3, : columns - 3]  # blocks that stick out
    buffer, path = io.BytesIO(), tmp_path / "a.jpg"
    Image.fromarray(np.stack([pixels] * 3, axis=2) if color else pixels).save(buffer, "JPEG", quality=95)
    content = buffer.getvalue()
    path.write_bytes(content)
    assert read_mammogram(path).pixels.shape == pixels.shape
    for missing in (300, 600):
        path.write_bytes(content[: -2 - missing] + b"\xff\xd9")
        with pytest.raises(UserError, match=r"a\.jpg: damaged: its compressed pixels end early"):
            read_mammogram(path)


def test_a_jpeg_file_whose_last_block_is_gray_is_whole(tmp_path: Path) -> None:
    pixels = SMALL.copy()
    pixels[-32:, -32:] = 128
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    assert read_mammogram(tmp_path / "a.jpg").pixels[-1, -1] == 128


@pytest.mark.parametrize("mode", ["L", "I;16", "P", "1"])
def test_png_files_that_unpack_to_less_than_their_rows(tmp_path: Path, mode: str) -> None:
    pixels = {"I;16": PIXELS, "1": SMALL > 128}.get(mode, SMALL).copy()
    pixels[-9:] = 0
    image = Image.fromarray(pixels)
    if mode == "P":
        image.putpalette([value for value in range(256) for _ in range(3)])
    path = tmp_path / "a.png"
    image.save(path)
    assert read_mammogram(path).pixels.shape == pixels.shape, "a black last row is no damage"
    content = path.read_bytes()
    start = content.index(b"IDAT")
    length = int.from_bytes(content[start - 4 : start], "big")
    raw = zlib.decompress(content[start + 4 : start + 4 + length])
    short = zlib.compress(raw[: len(raw) // 2])
    data = struct.pack(">I", len(short)) + b"IDAT" + short + struct.pack(">I", zlib.crc32(b"IDAT" + short))
    path.write_bytes(content[: start - 4] + data + content[start + 8 + length :])
    with pytest.raises(UserError, match=r"a\.png: damaged: its compressed pixels end early"):
        read_mammogram(path)


def tiff(path: Path, pixels: np.ndarray, packing: str, width: int = 64) -> tuple[bytes, list[tuple[int, int]]]:
    """Content of a TIFF file, and start and size of its strips."""
    Image.fromarray(pixels[:, :width]).save(path, "TIFF", compression=packing)
    with Image.open(path) as image:
        tags = image.tag_v2
        return path.read_bytes(), list(zip(tags[273], tags[279], strict=True))


@pytest.mark.parametrize("packing", ["tiff_adobe_deflate", "jpeg", "tiff_lzw", "packbits"])
def test_tiff_strips_that_end_early(tmp_path: Path, packing: str) -> None:
    for name, pixels in {"a": SMALL, "dark": DARK_BELOW}.items():
        path = tmp_path / f"{name}.tif"
        content, strips = tiff(path, pixels, packing)
        with Image.open(path) as image:
            np.testing.assert_array_equal(read_mammogram(path).pixels, np.asarray(image))
        start, size = strips[-1]
        for ending in (b"", b"\xff\xd9") if packing == "jpeg" else (b"",):
            part = (content[start : start + size // 2] + ending).ljust(size, b"\0")
            path.write_bytes(content[:start] + part + content[start + size :])
            with pytest.raises(UserError, match=rf"{name}\.tif: .*damaged"):
                read_mammogram(path)


def test_a_tiff_strip_that_unpacks_to_more_than_the_memory_limit(tmp_path: Path) -> None:
    path, wide = tmp_path / "a.tif", np.zeros((64, 4000), np.uint8)
    content, ((start, size), *_) = tiff(path, wide, "tiff_adobe_deflate", 4000)
    path.write_bytes(content[:start] + zlib.compress(bytes(10**6))[:size].ljust(size, b"\0") + content[start + size :])
    with limited(Limits(memory_gb=0.001)), pytest.raises(UserError, match=r"a\.tif"):
        read_mammogram(path)


@pytest.mark.parametrize("progressive", [False, True])
def test_color_jpeg_files_that_end_early(tmp_path: Path, progressive: bool) -> None:
    path, buffer = tmp_path / "a.jpg", io.BytesIO()
    color = np.stack([DARK_BELOW, DARK_BELOW // 2, DARK_BELOW], axis=2)
    Image.fromarray(color).save(buffer, "JPEG", quality=95, progressive=progressive)
    path.write_bytes(buffer.getvalue())
    with Image.open(path) as image:
        np.testing.assert_array_equal(read_photograph(path).pixels, np.asarray(image))
    for ending in (b"", b"\xff\xd9", bytes(5000)):
        path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2] + ending)
        with pytest.raises(UserError, match=r"a\.jpg: .*damaged"):
            read_photograph(path)
