"""Rows and columns are in the order shown by a viewer for all file formats."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from volume_factory import write_volume

from transforms.outputs.nifti import save_nifti, write_nifti
from transforms.outputs.prediction import Prediction
from transforms.reading.orientation import as_shown
from transforms.reading.photographs import read_photograph
from transforms.reading.pictures import read_picture
from transforms.reading.volumes import volume_affine

SHOWN = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
# Exif orientation: what is stored, so that SHOWN is shown (CIPA DC-008, Orientation: where row 0 and column 0 are)
STORED = {
    1: SHOWN,
    2: SHOWN[:, ::-1],
    3: SHOWN[::-1, ::-1],
    4: SHOWN[::-1],
    5: SHOWN.T,
    6: np.rot90(SHOWN),
    7: SHOWN[::-1, ::-1].T,
    8: np.rot90(SHOWN, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["png", "jpg", "tif"])
def test_pictures_are_turned_by_their_exif_orientation(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{kind}"
    blocks = np.kron(np.ascontiguousarray(STORED[orientation]), np.ones((8, 8), np.uint8))
    Image.fromarray(blocks).save(path, exif=exif, **({"quality": 100} if kind == "jpg" else {}))
    expected = np.kron(SHOWN, np.ones((8, 8), np.uint8)).astype(int)
    for palette in ("grey", "index"):
        np.testing.assert_allclose(read_picture(path, palette)[0], expected, atol=2)
    np.testing.assert_allclose(read_photograph(path).pixels, np.dstack([expected] * 3), atol=2)


# in LPS, as DICOM and ITK say it: direction of the stored columns and rows, and what is stored
L, R, P, A, F, H = [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, -1], [0, 0, 1]
PLANES = {
    "left-posterior, our own": (L, P, SHOWN),
    "rows from the bottom, as dcm2niix": (L, A, SHOWN[::-1]),
    "columns from the right": (R, P, SHOWN[:, ::-1]),
    "both, as an identity affine in NIfTI": (R, A, SHOWN[::-1, ::-1]),
    "rows stored as columns": (P, L, SHOWN.T),
    "turned": (A, L, SHOWN.T[:, ::-1]),
    "sagittal": (P, F, SHOWN),
    "sagittal, feet first": (P, H, SHOWN[::-1]),
    "coronal": (L, F, SHOWN),
}


def plane_affine(columns: list[int], rows: list[int], spacing: tuple[float, float]) -> np.ndarray:
    """NIfTI affine of a plane; spacing of stored columns and rows."""
    affine = np.eye(4)
    lps = np.stack([np.array(columns) * spacing[0], np.array(rows) * spacing[1], np.cross(columns, rows)], axis=1)
    affine[:3, :3] = np.diag([-1.0, -1.0, 1.0]) @ lps
    affine[:3, 3] = 5, -7, 3
    return affine


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti_in_any_order(tmp_path: Path, ending: str, plane: str) -> None:
    columns, rows, stored = PLANES[plane]
    affine = plane_affine(columns, rows, (0.07, 0.05))
    path = tmp_path / f"a{ending}"
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(stored.T[:, :, None]), affine), path)
    values, spacing = read_picture(path)
    np.testing.assert_array_equal(values, SHOWN)
    swapped = stored.shape != SHOWN.shape
    assert spacing == pytest.approx((0.07, 0.05) if swapped else (0.05, 0.07))
    row, column = np.argwhere(SHOWN == 120)[0]
    place = np.argwhere(stored.T == 120)[0]
    np.testing.assert_allclose(volume_affine(path) @ [column, row, 0, 1], affine @ [*place, 0, 1], atol=1e-5)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_files_of_itk_in_any_order(tmp_path: Path, ending: str, plane: str) -> None:
    columns, rows, stored = PLANES[plane]
    axes = (columns, rows, np.cross(columns, rows).tolist())
    path = write_volume(tmp_path / f"a{ending}", stored, (0.07, 0.05, 1.0), (5, -7, 3), axes)
    values, spacing = read_picture(path)
    np.testing.assert_array_equal(values, SHOWN)
    assert spacing == pytest.approx((0.07, 0.05) if stored.shape != SHOWN.shape else (0.05, 0.07))


def test_nifti_without_orientation_is_as_stored(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(SHOWN.T[:, :, None].copy(), None)
    image.header["pixdim"][1:3] = 0.07, 0.05
    assert (image.header["qform_code"], image.header["sform_code"]) == (0, 0)
    nibabel.save(image, tmp_path / "a.nii")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.nii")[0], SHOWN)


def test_an_affine_without_directions_turns_nothing() -> None:
    for affine in (np.diag([0.0, 0.0, 1.0, 1.0]), np.full((4, 4), np.nan)):
        assert as_shown(SHOWN, affine)[0] is SHOWN


def test_our_own_files_come_back(tmp_path: Path) -> None:
    save_nifti(SHOWN, (0.05, 0.07), tmp_path / "a.nii.gz")
    values, spacing = read_picture(tmp_path / "a.nii.gz", "index")
    np.testing.assert_array_equal(values, SHOWN)
    assert spacing == pytest.approx((0.05, 0.07))


def test_the_label_map_of_a_nifti_image_is_where_the_image_is(tmp_path: Path) -> None:
    affine = plane_affine(L, A, (0.07, 0.05))
    nibabel.save(nibabel.Nifti1Image(SHOWN[::-1].T[:, :, None].copy(), affine), tmp_path / "a.nii")
    label = (SHOWN == 120).astype(np.uint8)
    write_nifti(Prediction(label, ("no", "yes"), tmp_path, "b", facts={"path": str(tmp_path / "a.nii")}))
    written = nibabel.load(tmp_path / "b_seg.nii.gz")
    there = written.affine @ [*np.argwhere(np.asarray(written.dataobj)[:, :, 0])[0], 0, 1]
    np.testing.assert_allclose(there, affine @ [*np.argwhere(SHOWN[::-1].T == 120)[0], 0, 1], atol=1e-5)
