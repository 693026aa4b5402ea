"""Probabilities as NIfTI: values, axes, and pixel positions."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from transforms.outputs.nifti import write_nifti, write_probabilities
from transforms.outputs.prediction import Prediction


def example(folder: Path) -> Prediction:
    """A label map of 6 x 8 whose network saw 3 x 2."""
    return Prediction(
        label=np.zeros((6, 8), np.uint8),
        classes=("background", "tumor"),
        folder=folder,
        name="a",
        spacing_mm=(0.1, 0.2),
        logits=torch.randn(2, 3, 2, generator=torch.manual_seed(0)),
    )


def test_values_and_axes(tmp_path: Path) -> None:
    prediction = example(tmp_path)
    write_probabilities(prediction)
    volume = nib.load(tmp_path / "a_prob.nii.gz")
    values = np.asarray(volume.dataobj)
    assert volume.shape == (2, 3, 1, 2)  # columns, rows, 1, classes
    assert values.dtype == np.float32
    np.testing.assert_allclose(values.sum(axis=3), 1, atol=1e-6)
    expected = torch.softmax(prediction.logits, 0)
    assert values[1, 2, 0, 1] == pytest.approx(float(expected[1, 2, 1]))


def test_both_grids_cover_the_same_field_of_view(tmp_path: Path) -> None:
    prediction = example(tmp_path)
    write_nifti(prediction)
    write_probabilities(prediction)
    label, fine = (nib.load(tmp_path / f"a_{name}.nii.gz") for name in ("seg", "prob"))
    assert fine.header.get_zooms()[:2] == pytest.approx((0.8, 0.2))
    for corner in (np.array([-0.5, -0.5, 0, 1]), None):  # first and last corner, half a pixel out
        of_label = corner if corner is not None else np.array([7.5, 5.5, 0, 1])
        of_fine = corner if corner is not None else np.array([1.5, 2.5, 0, 1])
        np.testing.assert_allclose(label.affine @ of_label, fine.affine @ of_fine, atol=1e-6)


def test_without_logits() -> None:
    bare = Prediction(np.zeros((2, 2), np.uint8), ("background", "tumor"), Path(), "a")
    with pytest.raises(ValueError, match="need the logits"):
        write_probabilities(bare)
