"""Pictures, arrays, NIfTI and MetaImage give the same pixels as the DICOM file they came from."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from dicom_factory import ramp, write_dicom
from PIL import Image

from transforms.errors import UserError
from transforms.mammogram import read_mammogram
from transforms.pictures import read_picture

ASYMMETRIC = ramp((40, 70))


def write_nifti(path: Path, pixels: np.ndarray) -> None:
    nibabel = pytest.importorskip("nibabel")
    affine = np.diag([0.07, 0.05, 1.0, 1.0])  # x, y, z
    nibabel.save(nibabel.Nifti1Image(pixels.T[:, :, None].astype(np.int16), affine), path)


def write_itk(path: Path, pixels: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SWIG's types warn while ITK loads, and crash if that is an error
        itk = pytest.importorskip("itk")
        image = itk.image_from_array(pixels)
        image.SetSpacing([0.07, 0.05])
        itk.imwrite(image, str(path))


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
def test_twelve_bit_pixels_are_those_of_the_dicom_file(tmp_path, name):
    WRITERS[name](tmp_path / name, ASYMMETRIC)
    image = read_mammogram(tmp_path / name, bits=12)
    dicom = read_mammogram(write_dicom(tmp_path / "a.dcm", ASYMMETRIC))
    np.testing.assert_array_equal(image.pixels, dicom.pixels)
    assert image.pixels.dtype == np.uint16
    assert image.intensity_range == dicom.intensity_range == (0, 4095)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mha"])
def test_spacing_is_row_then_column(tmp_path, name):
    WRITERS[name](tmp_path / name, ASYMMETRIC)
    image = read_mammogram(tmp_path / name)
    assert image.spacing_mm == pytest.approx((0.05, 0.07))
    assert image.spacing_source == "image header"


def test_sixteen_bit_png_keeps_large_values_and_states_its_possible_range(tmp_path):
    Image.fromarray(np.full((2, 3), 40000, np.uint16)).save(tmp_path / "a.png")
    image = read_mammogram(tmp_path / "a.png")
    assert image.pixels.tolist() == [[40000] * 3] * 2
    assert image.intensity_range == (0, 65535)
    assert image.spacing_mm is None


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg"])
def test_eight_bit_and_grey_in_colour(tmp_path, suffix):
    grey = np.repeat(np.arange(0, 256, 8, dtype=np.uint8)[None], 8, axis=0)
    Image.fromarray(grey).save(tmp_path / f"grey{suffix}", quality=100)
    Image.fromarray(np.dstack([grey] * 3)).save(tmp_path / f"rgb{suffix}", quality=100)
    for name in ("grey", "rgb"):
        image = read_mammogram(tmp_path / f"{name}{suffix}")
        assert np.abs(image.pixels.astype(int) - grey).max() <= (2 if suffix == ".jpg" else 0)
        assert image.intensity_range == (0, 255)


def test_alpha_is_dropped_and_a_palette_is_colour_or_index(tmp_path):
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    Image.fromarray(np.dstack([grey, np.full_like(grey, 128)]), "LA").save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_mammogram(tmp_path / "la.png").pixels, grey)
    indexed = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3), "P")
    indexed.putpalette([channel for index in range(6) for channel in (40 * index,) * 3])
    indexed.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "p.png")[0], grey)
    np.testing.assert_array_equal(read_picture(tmp_path / "p.png", "index")[0], grey // 40)


def test_percentile_window_of_a_picture(tmp_path):
    Image.fromarray((ramp((100, 40)) // 4 + 1000).astype(np.uint16)).save(tmp_path / "a.png")
    image = read_mammogram(tmp_path / "a.png", "percentile", bits=12)
    assert (image.pixels.min(), image.pixels.max()) == (0, 4095)
    assert image.intensity_source.startswith("percentiles")


def test_a_nifti_volume_is_refused(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(UserError, match=r"a\.nii: NIfTI of shape \(4, 5, 6\); expected one slice"):
        read_mammogram(tmp_path / "a.nii")
