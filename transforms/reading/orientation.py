"""Order of rows and columns, for formats whose header states it.

A mammogram is shown as DICOM stores it: columns run to the patient's left, rows to the back (or to the feet, if a
volume's plane has other axes). The NIfTI files of this project are written in this order. Other programs store the rows
from the bottom (dcm2niix), or either axis in the other direction, and state this in the affine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Affine = NDArray[np.float64]
"""(4, 4), from (column, row, slice) to millimeters to the right, the front and the top, as in NIfTI."""


def as_shown(pixels: NDArray[Any], affine: Affine) -> tuple[NDArray[Any], Affine]:
    """Pixels (rows, columns) with columns to the left and rows to the back or the feet, and their affine.

    Args:
        pixels: as stored, with the affine's first axis as columns and its second as rows.
        affine: of the stored pixels. If an axis has no direction of its own, the pixels are not reoriented.
    """
    axes = _axes(affine)
    if axes is None:
        return pixels, affine
    affine = affine.copy()
    if axes[0][0] > axes[1][0]:  # the stored rows are columns
        pixels, affine[:, [0, 1]], axes = pixels.T, affine[:, [1, 0]], axes[::-1]
    for axis, (_, positive) in enumerate(axes):
        if positive:
            length = pixels.shape[1 - axis]
            pixels = np.flip(pixels, 1 - axis)
            affine[:, 3] += (length - 1) * affine[:, axis]
            affine[:, axis] *= -1
    return pixels, affine


def _axes(affine: Affine) -> list[tuple[int, bool]] | None:
    """For columns and rows: the nearest patient axis, and whether they run in its positive direction."""
    from nibabel.orientations import io_orientation

    if not np.isfinite(affine).all():
        return None
    nearest = io_orientation(affine)[:2]
    if np.isnan(nearest).any():
        return None
    return [(int(axis), direction > 0) for axis, direction in nearest]


def spacing_of(affine: Affine) -> tuple[float, float]:
    """(row, column) spacing in mm."""
    column, row = (float(np.linalg.norm(affine[:3, axis])) for axis in (0, 1))
    return row, column
