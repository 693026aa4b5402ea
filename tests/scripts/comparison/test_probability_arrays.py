"""Probability maps of other tools: supported formats, and hostile files."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.lib import format as npy

from scripts.comparison.peers.probability_arrays import read_array
from scripts.importers.labels.label_images import read_label_image
from transforms.errors import UserError

VALUES = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 24
"""(classes, rows, columns)"""
SHOWN = np.diag([-0.1, -0.1, 1, 1])
"""Affine whose columns run to the left and rows to the back, as in this project's files."""


def header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def test_the_three_formats_hold_the_same(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    np.savez_compressed(tmp_path / "b.npz", other=np.zeros(1), probabilities=VALUES)
    np.savez(tmp_path / "c.npz", first=VALUES)
    nibabel.Nifti1Image(VALUES.transpose(2, 1, 0), SHOWN).to_filename(tmp_path / "d.nii.gz")
    for name in ("a.npy", "b.npz", "c.npz", "d.nii.gz"):
        np.testing.assert_array_equal(read_array(tmp_path / name, 24), VALUES)
        with pytest.raises(UserError, match=r"expected one probability per pixel and class, at most 23 numbers"):
            read_array(tmp_path / name, 23)


@pytest.mark.parametrize("affine", [SHOWN, np.eye(4), SHOWN[[1, 0, 2, 3]], np.diag([0.1, -0.1, 1, 1])])
def test_nifti_maps_are_oriented_like_label_maps(tmp_path: Path, affine: np.ndarray) -> None:
    label = (VALUES[1] > 0.7).astype(np.uint8)
    nibabel.Nifti1Image(label.T[..., None], affine).to_filename(tmp_path / "a.nii.gz")
    nibabel.Nifti1Image(VALUES.transpose(2, 1, 0)[:, :, None], affine).to_filename(tmp_path / "a_prob.nii.gz")
    values = read_array(tmp_path / "a_prob.nii.gz", 24)
    np.testing.assert_array_equal(values[1] > 0.7, read_label_image(tmp_path / "a.nii.gz").values)


def large_npy(path: Path) -> Path:
    path.with_suffix(".npy").write_bytes(header((100_000, 100_000)))
    return path.with_suffix(".npy")


def bomb(path: Path) -> Path:
    """64 MB of zeros in 64 kB."""
    with (
        zipfile.ZipFile(path.with_suffix(".npz"), "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("probabilities.npy", "w") as file,
    ):
        file.write(header((2**24,)))
        for _ in range(64):
            file.write(bytes(2**20))
    return path.with_suffix(".npz")


def large_nifti(path: Path) -> Path:
    nibabel.Nifti1Image(VALUES, np.eye(4)).to_filename(path.with_suffix(".nii.gz"))
    content = bytearray(gzip.decompress(path.with_suffix(".nii.gz").read_bytes()))
    content[42:48] = np.array([30000, 30000, 10], "<i2").tobytes()  # dim 1 to 3
    path.with_suffix(".nii.gz").write_bytes(gzip.compress(bytes(content)))
    return path.with_suffix(".nii.gz")


def objects(path: Path) -> Path:
    np.save(path.with_suffix(".npy"), np.array([[print]], dtype=object), allow_pickle=True)
    return path.with_suffix(".npy")


def text(path: Path) -> Path:
    np.savez(path.with_suffix(".npz"), probabilities=np.array([["a"]]))
    return path.with_suffix(".npz")


def empty_archive(path: Path) -> Path:
    zipfile.ZipFile(path.with_suffix(".npz"), "w").close()
    return path.with_suffix(".npz")


def cut(path: Path) -> Path:
    np.save(path.with_suffix(".npy"), VALUES)
    path.with_suffix(".npy").write_bytes(path.with_suffix(".npy").read_bytes()[:-5])
    return path.with_suffix(".npy")


def no_gzip(path: Path) -> Path:
    path.with_suffix(".nii.gz").write_bytes(b"x" * 400)
    return path.with_suffix(".nii.gz")


@pytest.mark.parametrize("make", [large_npy, bomb, large_nifti, objects, text, empty_archive, cut, no_gzip])
def test_hostile_files_are_one_line_and_take_no_memory(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path / "case")
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as raised:
            read_array(path, 24)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(path) in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert peak < 2**25
