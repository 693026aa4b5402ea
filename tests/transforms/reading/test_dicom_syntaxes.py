"""Every transfer syntax of mammograms: lossless bit for bit, damaged without harm, absent decoders by name."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from dicom_factory import compress_dicom, write_dicom
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from transforms.errors import UserError
from transforms.reading import dicom_pixels
from transforms.reading.codestreams import jpeg_size
from transforms.reading.dicom import transfer_syntax
from transforms.reading.mammogram import read_mammogram

SYNTAXES = {
    "1.2.840.10008.1.2.4.57": "JPEG Lossless, Non-Hierarchical (Process 14)",
    "1.2.840.10008.1.2.4.70": "JPEG Lossless, Non-Hierarchical, First-Order Prediction",
    "1.2.840.10008.1.2.4.80": "JPEG-LS Lossless Image Compression",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 Image Compression (Lossless Only)",
    "1.2.840.10008.1.2.5": "RLE Lossless",
}
EXTENDED, BASELINE = "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.50"


def pixels_of(bits: int) -> np.ndarray:
    """All kinds of values: smooth, noisy, the smallest and the largest possible."""
    rows, columns = np.mgrid[:64, :48]
    noise = np.random.default_rng(bits).integers(0, 2**bits, (64, 48))
    pixels = np.where(columns < 24, (rows * 37 + columns * 5) % 2**bits, noise)
    pixels[0, 0], pixels[-1, -1] = 0, 2**bits - 1
    return pixels.astype(np.uint8 if bits == 8 else np.uint16)


def compressed(folder: Path, pixels: np.ndarray, bits: int, syntax: str) -> Path:
    """Write the pixels with GDCM's encoder."""
    return compress_dicom(write_dicom(folder / "plain.dcm", pixels, bits), folder / "compressed.dcm", syntax)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_lossless_syntaxes_are_read_bit_for_bit(tmp_path, syntax, bits) -> None:
    pixels = pixels_of(bits)
    path = compressed(tmp_path, pixels, bits, syntax)
    assert dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
    image = read_mammogram(path, "none")
    np.testing.assert_array_equal(image.pixels, pixels)
    assert image.intensity_range == (0, 2**bits - 1)
    assert transfer_syntax(path).startswith(SYNTAXES[syntax])


@pytest.mark.parametrize(("syntax", "bits"), [(EXTENDED, 12), (EXTENDED, 8), (BASELINE, 8)])
def test_lossy_jpeg_of_8_and_12_bits_is_close(tmp_path, syntax, bits) -> None:
    rows, columns = np.mgrid[:64, :48]
    pixels = (2 ** (bits - 8) * (rows * 2 + columns)).astype(np.uint8 if bits == 8 else np.uint16)
    image = read_mammogram(compressed(tmp_path, pixels, bits, syntax), "none")
    assert np.abs(image.pixels.astype(int) - pixels).max() <= 2


def test_a_12_bit_jpeg_of_another_encoder() -> None:
    """Two pixels that pydicom's own tests state for this file."""
    pixels = read_mammogram(get_testdata_file("JPEG-lossy.dcm", download=False), "none").pixels
    assert (pixels[420, 140], pixels[230, 120]) == (244, 95)


def test_signed_lossless_jpeg(tmp_path) -> None:
    pixels = pixels_of(12).astype(np.int16) - 2048
    plain = read_mammogram(write_dicom(tmp_path / "a.dcm", pixels), "none")
    packed = read_mammogram(compressed(tmp_path, pixels, 12, "1.2.840.10008.1.2.4.70"), "none")
    np.testing.assert_array_equal(packed.pixels, plain.pixels)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_damaged_pixels_are_refused_or_read_and_never_end_the_process(tmp_path, syntax) -> None:
    content = compressed(tmp_path, pixels_of(12), 12, syntax).read_bytes()
    start = content.rfind(b"\xe0\x7f\x10\x00")
    random_, refused = random.Random(syntax), 0
    for _ in range(25):
        damaged = bytearray(content)
        for _ in range(random_.choice((1, 5, 50))):
            damaged[random_.randrange(start, len(damaged))] = random_.randrange(256)
        path = tmp_path / "damaged.dcm"
        path.write_bytes(damaged[: random_.randrange(start, len(damaged))] if random_.random() < 0.2 else damaged)
        try:
            assert read_mammogram(path).pixels.shape == (64, 48)
        except UserError:
            refused += 1
    assert refused >= 3


def test_jpeg_data_of_another_size_is_not_decoded(tmp_path) -> None:
    path = compressed(tmp_path, pixels_of(12), 12, "1.2.840.10008.1.2.4.70")
    for keyword, value in (("Rows", 63), ("Columns", 470), ("BitsAllocated", 8)):
        header = dcmread(path)
        setattr(header, keyword, value)
        header.BitsStored, header.HighBit = (8, 7) if keyword == "BitsAllocated" else (12, 11)
        header.save_as(tmp_path / "wrong.dcm")
        with pytest.raises(UserError, match=r"wrong\.dcm: damaged DICOM file: its JPEG Lossless.* cannot be decoded"):
            read_mammogram(tmp_path / "wrong.dcm")


@pytest.mark.parametrize(
    ("data", "size"),
    [
        ("ffd8 ffe0 0004 0000 ff ffc3 000b 0c 0040 0030 01 011100", (12, 64, 48, 1)),
        ("ffd8 ffc4 0003 00 ffc1 0011 08 0001 0002 03 000000", (8, 1, 2, 3)),
        ("ffd8 ffd9", None),
        ("", None),
        ("ffd8 00", None),
    ],
)
def test_size_in_jpeg_data(data, size) -> None:
    assert jpeg_size(bytes.fromhex(data.replace(" ", ""))) == size


@pytest.mark.parametrize(
    ("syntax", "package"),
    [
        ("1.2.840.10008.1.2.4.50", "pillow"),
        ("1.2.840.10008.1.2.4.57", "python-gdcm"),
        ("1.2.840.10008.1.2.4.70", "python-gdcm"),
        ("1.2.840.10008.1.2.4.81", "pyjpegls"),
        ("1.2.840.10008.1.2.4.91", "pylibjpeg pylibjpeg-openjpeg"),
        ("1.2.840.10008.1.2.4.201", "pylibjpeg pylibjpeg-openjpeg"),
    ],
)
def test_an_absent_decoder_is_named_with_its_package(tmp_path, monkeypatch, syntax, package) -> None:
    path = write_dicom(tmp_path / "a.dcm", pixels_of(12))
    header = dcmread(path)
    header.file_meta.TransferSyntaxUID = UID(syntax)
    assert dicom_pixels.check_decoder(path, header)
    monkeypatch.setattr(get_decoder(UID(syntax)), "_available", {})
    with pytest.raises(UserError) as refusal:
        dicom_pixels.check_decoder(path, header)
    assert UID(syntax).name in str(refusal.value)
    assert str(refusal.value).endswith(f"`pip install {package}`")
