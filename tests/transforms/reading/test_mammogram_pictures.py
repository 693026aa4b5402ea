"""Pictures, arrays, NIfTI and MetaImage give the same pixels as the DICOM file they came from."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from dicom_factory import ramp, write_dicom
from PIL import Image

from transforms.errors import UserError
from transforms.reading.mammogram import read_mammogram
from transforms.reading.pictures import read_picture

ASYMMETRIC = ramp((40, 70))


def write_nifti(path: Path, pixels: np.ndarray) -> None:
    nibabel = pytest.importorskip("nibabel")
    affine = np.diag([-0.07, -0.05, 1.0, 1.0])  # x to the left, y to the back
    nibabel.save(nibabel.Nifti1Image(pixels.T[:, :, None].astype(np.int16), affine), path)


def write_itk(path: Path, pixels: np.ndarray) -> None:
    """With ITK's own writer, in a process of its own: an interpreter that holds ITK can crash when it ends."""
    program = f"""
import os, sys
import itk, numpy
image = itk.image_from_array(numpy.load({str(path.with_suffix(".pixels.npy"))!r}))
image.SetSpacing([0.07, 0.05])
itk.imwrite(image, {str(path)!r})
os._exit(0)
"""
    np.save(path.with_suffix(".pixels.npy"), pixels)
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=120).returncode == 0


WRITERS = {
    "a.png": lambda path, pixels: Image.fromarray(pixels).save(path),
    "a.tif": lambda path, pixels: Image.fromarray(pixels).save(path),
    "a.npy": np.save,
    "a.nii.gz": write_nifti,
    "a.mha": write_itk,
    "a.nrrd": write_itk,
    "Früh jahr#1 (L)_CC.PNG": lambda path, pixels: Image.fromarray(pixels).save(path, "png"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_twelve_bit_pixels_are_those_of_the_dicom_file(tmp_path, name) -> None:
    WRITERS[name](tmp_path / name, ASYMMETRIC)
    image = read_mammogram(tmp_path / name, bits=12)
    dicom = read_mammogram(write_dicom(tmp_path / "a.dcm", ASYMMETRIC))
    np.testing.assert_array_equal(image.pixels, dicom.pixels)
    assert image.pixels.dtype == np.uint16
    assert image.intensity_range == dicom.intensity_range == (0, 4095)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mha"])
def test_spacing_is_row_then_column(tmp_path, name) -> None:
    WRITERS[name](tmp_path / name, ASYMMETRIC)
    image = read_mammogram(tmp_path / name)
    assert image.spacing_mm == pytest.approx((0.05, 0.07))
    assert image.spacing_source == "image header"


def test_sixteen_bit_png_keeps_large_values_and_states_its_possible_range(tmp_path) -> None:
    Image.fromarray(np.full((2, 3), 40000, np.uint16)).save(tmp_path / "a.png")
    image = read_mammogram(tmp_path / "a.png")
    assert image.pixels.tolist() == [[40000] * 3] * 2
    assert image.intensity_range == (0, 65535)
    assert image.spacing_mm is None


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg"])
def test_eight_bit_and_grey_in_colour(tmp_path, suffix) -> None:
    grey = np.repeat(np.arange(0, 256, 8, dtype=np.uint8)[None], 8, axis=0)
    Image.fromarray(grey).save(tmp_path / f"grey{suffix}", quality=100)
    Image.fromarray(np.dstack([grey] * 3)).save(tmp_path / f"rgb{suffix}", quality=100)
    for name in ("grey", "rgb"):
        image = read_mammogram(tmp_path / f"{name}{suffix}")
        assert np.abs(image.pixels.astype(int) - grey).max() <= (2 if suffix == ".jpg" else 0)
        assert image.intensity_range == (0, 255)


def test_alpha_is_dropped_and_a_palette_is_colour_or_index(tmp_path) -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    Image.fromarray(np.dstack([grey, np.full_like(grey, 128)]), "LA").save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_mammogram(tmp_path / "la.png").pixels, grey)
    indexed = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3), "P")
    indexed.putpalette([channel for index in range(6) for channel in (40 * index,) * 3])
    indexed.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "p.png")[0], grey)
    np.testing.assert_array_equal(read_picture(tmp_path / "p.png", "index")[0], grey // 40)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_whose_zero_is_white_is_turned_round(tmp_path, dtype) -> None:
    """Pillow does so for 8 bits and not for 16. The tag is written by hand, as Pillow writes none."""
    grey = (np.arange(12).reshape(3, 4) * (20 if dtype == np.uint8 else 5000)).astype(dtype)
    Image.fromarray(grey).save(tmp_path / "a.tif")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    directory = int.from_bytes(content[4:8], "little")
    for entry in range(directory + 2, directory + 2 + 12 * content[directory], 12):
        if content[entry : entry + 2] == bytes([262 % 256, 1]):
            content[entry + 8] = 0
    (tmp_path / "white.tif").write_bytes(content)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif")[0], grey)
    np.testing.assert_array_equal(read_picture(tmp_path / "white.tif")[0], np.iinfo(dtype).max - grey)


def test_one_bit_pictures_are_black_and_white_and_as_labels_0_and_1(tmp_path) -> None:
    Image.fromarray(np.array([[True, False, True]])).save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png")[0].tolist() == [[255, 0, 255]]
    assert read_picture(tmp_path / "a.png", "index")[0].tolist() == [[1, 0, 1]]


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_printing_colours_are_grey_again(tmp_path, name) -> None:
    grey = np.repeat(np.arange(0, 256, 8, dtype=np.uint8)[None], 8, axis=0)
    Image.fromarray(grey).convert("CMYK").save(tmp_path / name, quality=100)
    assert np.abs(read_picture(tmp_path / name)[0].astype(int) - grey).max() <= 2


def png_of_16_bits(path: Path, colour_type: int, channels: int) -> Path:
    """A PNG file that Pillow can read but not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + np.full((5, channels), 4000, ">u2").tobytes() for _ in range(4))
    head = struct.pack(">IIBBBBB", 5, 4, 16, colour_type, 0, 0, 0)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


def test_sixteen_bits_that_pillow_would_cut_to_eight_are_refused(tmp_path) -> None:
    assert read_picture(png_of_16_bits(tmp_path / "grey.png", 0, 1))[0].max() == 4000
    for colour_type, channels in ((2, 3), (4, 2), (6, 4)):
        with pytest.raises(UserError, match="16 bits per value in color or with transparency; save it as plain grays"):
            read_picture(png_of_16_bits(tmp_path / "a.png", colour_type, channels))


def test_percentile_window_of_a_picture(tmp_path) -> None:
    Image.fromarray((ramp((100, 40)) // 4 + 1000).astype(np.uint16)).save(tmp_path / "a.png")
    image = read_mammogram(tmp_path / "a.png", "percentile", bits=12)
    assert (image.pixels.min(), image.pixels.max()) == (0, 4095)
    assert image.intensity_source.startswith("percentiles")


def test_a_nifti_volume_is_refused(tmp_path) -> None:
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(UserError, match=r"a\.nii: NIfTI of shape \(4, 5, 6\); expected one slice"):
        read_mammogram(tmp_path / "a.nii")
