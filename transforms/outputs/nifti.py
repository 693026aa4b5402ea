"""Label maps and probabilities as NIfTI, with axes (column, row, 1) and left-posterior directions as in DICOM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.atomic_write import whole_file
from transforms.outputs.prediction import Prediction

LABEL_ENDING, PROBABILITY_ENDING = "_seg.nii.gz", "_prob.nii.gz"


def write_nifti(prediction: Prediction) -> None:
    """Write `<name>_seg.nii.gz`, the label map uint8; unknown spacing is written as 1 mm."""
    save_nifti(prediction.label, prediction.spacing_mm or (1.0, 1.0), prediction.path(LABEL_ENDING))


def write_probabilities(prediction: Prediction) -> None:
    """Write `<name>_prob.nii.gz`: probability of each class, float32 (w, h, 1, classes), background first.

    Its grid is the working resolution, which the network saw: `image_height` rows over the same field of view, so
    that label map and probabilities cover each other in a viewer. At the label map's own resolution a file would be
    some hundred megabytes and hold nothing more.

    Raises ValueError if the prediction has no logits.
    """
    probabilities = prediction.probabilities
    if probabilities is None:
        raise ValueError("probabilities need the logits: give ArgmaxLiked keep_key, and this its name")
    rows, columns = prediction.label.shape
    height, width = probabilities.shape[1:]
    row, column = prediction.spacing_mm or (1.0, 1.0)
    # where the centre of the first coarse pixel lies, from the centre of the first pixel of the label map
    start = ((columns / width - 1) / 2 * column, (rows / height - 1) / 2 * row)
    volume = probabilities.transpose(2, 1, 0)[:, :, None]
    spacing = (row * rows / height, column * columns / width)
    _save(volume, spacing, prediction.path(PROBABILITY_ENDING), start)


def save_nifti(label: NDArray[np.uint8], spacing_mm: Sequence[float], path: Path) -> None:
    """Label map (H, W) → NIfTI of shape (W, H, 1); spacing (row, column) in mm."""
    _save(label.T[..., None], spacing_mm, path)


def _save(
    volume: NDArray[Any], spacing_mm: Sequence[float], path: Path, start_mm: tuple[float, float] = (0.0, 0.0)
) -> None:
    import nibabel as nib

    row, column = (float(v) for v in spacing_mm)
    affine = np.diag([-column, -row, 1.0, 1.0])
    affine[:2, 3] = -start_mm[0], -start_mm[1]
    image = nib.Nifti1Image(volume, affine)
    image.header.set_xyzt_units("mm")
    with whole_file(path) as part:
        nib.save(image, part)
