"""Formats made for volumes that hold one slice: NIfTI by nibabel; MHA, MHD and NRRD by ITK."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.errors import UserError

ITK_SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
Spacing = tuple[float, float] | None


def read_nifti(path: Path) -> tuple[NDArray[Any], Spacing]:
    """NIfTI stores x first; a mammogram is its only slice."""
    import nibabel

    image = nibabel.load(path)
    values = np.asanyarray(image.dataobj)
    if values.ndim < 2 or math.prod(values.shape[2:]) != 1:
        raise UserError(f"{path}: NIfTI of shape {values.shape}; expected one slice")
    column, row = (float(size) for size in image.header.get_zooms()[:2])
    return values.reshape(values.shape[:2]).T, _known(row, column)


def read_itk(path: Path) -> tuple[NDArray[Any], Spacing]:
    """MHA, MHD or NRRD with one slice: values (rows, columns) and (row, column) spacing."""
    import itk

    image = itk.imread(str(path))
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise UserError(f"{path}: {image.GetNumberOfComponentsPerPixel()} values a pixel; expected grayscale")
    values = itk.array_from_image(image)
    if math.prod(values.shape[:-2]) != 1:
        raise UserError(f"{path}: a volume of shape {values.shape}; expected one slice")
    column, row = (float(size) for size in list(itk.spacing(image))[:2])
    return values.reshape(values.shape[-2:]), _known(row, column)


def _known(row: float, column: float) -> Spacing:
    """A spacing of exactly 1 mm is what these formats hold when nobody stated one."""
    return None if (row, column) == (1.0, 1.0) or not (0 < row < 100 and 0 < column < 100) else (row, column)
