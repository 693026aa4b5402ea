"""Read an image file other than DICOM as one (rows, columns) array of whole numbers.

PNG, JPEG, TIFF and BMP are read by Pillow, .npy by NumPy, NIfTI by nibabel, and MHA, MHD and NRRD by ITK.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.errors import UserError
from transforms.npy import load_npy
from transforms.reading import limits
from transforms.reading.early_end import ends_early
from transforms.reading.file_signatures import what_else
from transforms.reading.pillow import as_shown, open_picture
from transforms.reading.volumes import ITK_SUFFIXES, NIFTI_SUFFIXES, Spacing, check_volume, read_volume

PILLOW_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
SUFFIXES = (*PILLOW_SUFFIXES, *ITK_SUFFIXES, *NIFTI_SUFFIXES, ".npy")
EIGHT_BIT_MODES = ("LA", "RGB", "RGBA")
ALPHA_MODES = ("LA", "PA", "RGBA")
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0
"""TIFF 6.0, section 8, PhotometricInterpretation."""


def read_picture(path: Path, palette: str = "grey") -> tuple[NDArray[Any], Spacing]:
    """Values (rows, columns) as uint8 or uint16, row 0 at the top, and the (row, column) spacing in mm if stated.

    Args:
        path: the file; its suffix determines the format, except that Pillow detects it by the content.
        palette: interpretation of a palette image: "grey" its colors (a picture), "index" its indices (a label), "mask"
            whether a color is black (0) or not.

    Raises:
        UserError: not an image, damaged, several pages or slices, color, or values that are not whole
            numbers from 0 to 65535. The message names the file.
    """
    name = path.name.lower()
    spacing: Spacing = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if name.endswith(".npy"):
                values = load_npy(path)
            elif name.endswith((*NIFTI_SUFFIXES, *ITK_SUFFIXES)):
                values, spacing = read_volume(path)
            else:
                values = _pillow(path, palette)
            return whole_numbers(path, values), spacing
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception as error:  # each library raises its own kinds on damaged files
        raise _unreadable(path, error) from None


def probe_picture(path: Path) -> None:
    """Refuse a file whose header shows that it is not a single image; the values are not read."""
    name = path.name.lower()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if name.endswith(PILLOW_SUFFIXES):
                open_picture(path).close()
            elif name.endswith(".npy"):
                _check_size(path, load_npy(path))
            elif name.endswith((*NIFTI_SUFFIXES, *ITK_SUFFIXES)):
                check_volume(path)
    except UserError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from None


def whole_numbers(path: Path, values: NDArray[Any]) -> NDArray[Any]:
    """Return the array as (rows, columns) of uint8 or uint16; raise a `UserError` if that is impossible."""
    _check_size(path, values)
    if values.ndim == 3 and values.shape[2] in (1, 3) and (values == values[:, :, :1]).all():
        values = values[:, :, 0]
    if values.ndim != 2:
        kind = "a color image" if values.ndim == 3 and values.shape[2] == 3 else f"of shape {values.shape}"
        raise UserError(f"{path}: {kind}; expected a grayscale image (rows, columns)")
    if values.dtype == np.uint8 or values.dtype == np.uint16:
        return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("=")))
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    low, high = float(values.min()), float(values.max())
    if not 0 <= low <= high <= 65535 or not np.array_equal(values, np.trunc(values)):
        raise UserError(
            f"{path}: {values.dtype} values from {low:g} to {high:g}; expected whole numbers from 0 to 65535"
        )
    return values.astype(np.uint8 if values.dtype.itemsize == 1 else np.uint16)


def _check_size(path: Path, values: NDArray[Any]) -> None:
    if values.ndim >= 2:
        rows, columns = values.shape[:2]
        limits.check_size(path, rows, columns, values.nbytes / max(rows * columns, 1))


def _unreadable(path: Path, error: Exception) -> UserError:
    other = None if path.name.lower().endswith(".gz") else what_else(path)
    if other is not None:
        return UserError(f"{path}: not a readable image: it is {other}")
    return UserError(
        f"{path}: not a readable image, or damaged ({type(error).__name__}); expected DICOM or {' '.join(SUFFIXES)}"
    )


def _pillow(path: Path, palette: str) -> NDArray[Any]:
    with open_picture(path) as image:
        values = _values(path, image, palette)
        if ends_early(path, image, values, lambda other: _values(path, other, palette)):
            raise UserError(f"{path}: damaged: its compressed pixels end early; copy it again")
        return as_shown(image, values)


def gray_bits(path: Path) -> int:
    """Bits per pixel of a gray picture: 1, 2 or 4, which Pillow reads as 0 and 1 or scales to 0 to 255; else 8."""
    if not path.name.lower().endswith(PILLOW_SUFFIXES):
        return 8
    with open_picture(path) as image:
        if image.mode == "1":
            return 1
        raw = str(image.tile[0][3]) if image.mode == "L" and image.tile else ""
        return next((bits for bits in (2, 4) if f"L;{bits}" in raw), 8)


def palette_of(path: Path) -> list[tuple[int, int, int]]:
    """Red, green and blue of each index of a palette picture, from its header; empty for others."""
    with open_picture(path) as image:
        flat = image.getpalette("RGB") if image.mode in ("P", "PA") else None
    return [(r, g, b) for r, g, b in zip(*[iter(flat or [])] * 3, strict=False)]


def _values(path: Path, image: Any, palette: str) -> NDArray[Any]:
    if image.mode in EIGHT_BIT_MODES and any(";16" in str(tile[3]) for tile in image.tile):
        raise UserError(f"{path}: 16 bits per value in color or with transparency; save it as plain grayscale")
    if image.mode == "P" and palette == "mask":
        return np.asarray(image.convert("RGB")).max(axis=2)
    if image.mode == "CMYK" or (image.mode == "P" and palette == "grey"):
        return np.asarray(image.convert("RGB"))
    if image.mode == "1" and palette == "grey":
        return np.asarray(image.convert("L"))
    values = np.asarray(image)
    if image.mode in ALPHA_MODES:  # transparency is not part of the intensities
        values = values[:, :, :-1]
    if image.mode.startswith("I;16") and image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        return 65535 - values  # Pillow does so for 8 bits only
    return values
