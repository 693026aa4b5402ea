"""Label maps and probabilities as NIfTI, with axes (column, row, 1) and left-posterior directions as in DICOM.

For a NIfTI, MHA or NRRD image, its own position and directions are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.atomic_write import atomic_file
from transforms.errors import UserError
from transforms.outputs.prediction import Prediction
from transforms.reading.orientation import Affine
from transforms.reading.volumes import volume_affine

LABEL_ENDING, PROBABILITY_ENDING = "_seg.nii.gz", "_prob.nii.gz"
DISAGREEMENT_ENDING = "_disagreement.nii.gz"


def write_nifti(prediction: Prediction) -> None:
    """Write `<name>_seg.nii.gz`, the label map uint8; unknown spacing is written as 1 mm."""
    affine = _affine(prediction)
    _save(prediction.label.T[..., None], affine, prediction.path(LABEL_ENDING))


def write_probabilities(prediction: Prediction) -> None:
    """Write `<name>_prob.nii.gz`: probability of each class, float32 (w, h, 1, classes), background first.

    Its grid is the working resolution, the network's input: `image_height` rows over the same field of view, so that
    label map and probabilities overlay each other in a viewer. At the label map's own resolution a file would take a
    few hundred megabytes without additional information.

    Raises ValueError if the prediction has no logits.
    """
    probabilities = prediction.probabilities
    if probabilities is None:
        raise ValueError("probabilities need the logits: set keep_key of ArgmaxLiked, and logits_key to the same key")
    rows, columns = prediction.label.shape
    height, width = probabilities.shape[1:]
    # position of the center of the first coarse pixel, in pixels from the center of the label map's first pixel
    grid = np.diag([columns / width, rows / height, 1.0, 1.0])
    grid[:2, 3] = (columns / width - 1) / 2, (rows / height - 1) / 2
    volume = probabilities.transpose(2, 1, 0)[:, :, None]
    _save(volume, _affine(prediction) @ grid, prediction.path(PROBABILITY_ENDING))


def write_disagreement(prediction: Prediction) -> None:
    """Write `<name>_disagreement.nii.gz`: disagreement between the members of an ensemble, float32 (w, h, 1).

    Raises:
        UserError: the prediction was not made by an ensemble.
    """
    if prediction.disagreement is None:
        raise UserError("--formats: disagreement needs an ensemble; give --members, or leave it out")
    _save(prediction.disagreement.T[..., None], _affine(prediction), prediction.path(DISAGREEMENT_ENDING))


def save_nifti(label: NDArray[np.uint8], spacing_mm: Sequence[float], path: Path) -> None:
    """Label map (H, W) → NIfTI of shape (W, H, 1); spacing (row, column) in mm."""
    _save(label.T[..., None], _left_and_back(spacing_mm), path)


def _affine(prediction: Prediction) -> Affine:
    """The image's affine if its format has one, so that a viewer aligns both; else one from the spacing alone."""
    path = prediction.facts.get("path")
    affine = volume_affine(Path(path)) if path else None
    return _left_and_back(prediction.spacing_mm or (1.0, 1.0)) if affine is None else affine


def _left_and_back(spacing_mm: Sequence[float]) -> Affine:
    row, column = (float(v) for v in spacing_mm)
    return np.diag([-column, -row, 1.0, 1.0])


def _save(volume: NDArray[Any], affine: Affine, path: Path) -> None:
    import nibabel as nib

    image = nib.Nifti1Image(volume, affine)
    image.header.set_xyzt_units("mm")
    with atomic_file(path) as part:
        nib.save(image, part)
