"""Formats made for volumes that hold one slice: NIfTI by nibabel; MHA, MHD and NRRD by ITK."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.errors import UserError
from transforms.reading import limits
from transforms.reading.decoder import DecoderEndedError, DecodingError, decode_array
from transforms.reading.dicom_attributes import plausible_spacing
from transforms.reading.orientation import Affine, as_shown, spacing_of
from transforms.reading.volume_headers import META_SUFFIXES, NRRD_SUFFIXES, check_header

ITK_SUFFIXES = (*META_SUFFIXES, *NRRD_SUFFIXES)
NIFTI_SUFFIXES = (".nii", ".nii.gz")
Spacing = tuple[float, float] | None
_NIFTI_1, _NIFTI_2 = 348, 540
"""Sizes of the headers in bytes; each header begins with its size."""


def read_volume(path: Path) -> tuple[NDArray[Any], Spacing]:
    """Values (rows, columns) in the order of `orientation.as_shown`, and (row, column) spacing.

    Raises:
        UserError: more than one slice or value per pixel, or more than `limits` allow.
        Exception: of many kinds, if the file is damaged.
    """
    values, affine = _read(path)
    return values, _known(*spacing_of(affine))


def volume_affine(path: Path) -> Affine | None:
    """Affine of the pixels that `read_volume` returns; None for other formats."""
    if not path.name.lower().endswith((*NIFTI_SUFFIXES, *ITK_SUFFIXES)):
        return None
    return _read(path)[1]


def check_volume(path: Path) -> None:
    """Check the header only.

    Raises:
        UserError: as `read_volume`.
    """
    if path.name.lower().endswith(NIFTI_SUFFIXES):
        _nifti_header(path)
    else:
        check_header(path)


def _read(path: Path) -> tuple[NDArray[Any], Affine]:
    return (_read_nifti if path.name.lower().endswith(NIFTI_SUFFIXES) else _read_itk)(path)


def _nifti_header(path: Path) -> Any:
    """The header, after a check of its sizes; nibabel would unpack any stated size."""
    import nibabel

    with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as file:
        head = file.read(_NIFTI_2)
    two = _NIFTI_2 in (int.from_bytes(head[:4], order) for order in ("little", "big"))
    kind, size = (nibabel.Nifti2Header, _NIFTI_2) if two else (nibabel.Nifti1Header, _NIFTI_1)
    header = kind(head[:size], check=False)
    shape = header.get_data_shape()
    if len(shape) < 2 or math.prod(shape[2:]) != 1:
        raise UserError(f"{path}: NIfTI of shape {shape}; expected one slice")
    slope, _ = header.get_slope_inter()
    width = max(header.get_data_dtype().itemsize, 1 if slope is None else 8)
    limits.check_size(path, shape[1], shape[0], width)
    if not 0 <= header.get_data_offset() <= limits.HEADER_BYTES:
        raise UserError(f"{path}: damaged NIfTI header: pixels begin at byte {header.get_data_offset()}")
    return header


def _read_nifti(path: Path) -> tuple[NDArray[Any], Affine]:
    """Read a NIfTI file with one slice; NIfTI stores x first."""
    import nibabel

    header = _nifti_header(path)
    kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    image = kind.from_filename(path)
    values = np.asanyarray(image.dataobj)
    values = values.reshape(values.shape[:2]).T
    affine = np.asarray(image.affine, float)
    if not int(header["qform_code"]) and not int(header["sform_code"]):
        return values, affine  # the header does not state the directions of its axes
    return as_shown(values, affine)


def _read_itk(path: Path) -> tuple[NDArray[Any], Affine]:
    """Read MHA, MHD or NRRD, with ITK in the decoder's process."""
    request = {"job": "itk", "kind": check_header(path), "path": str(path)}
    try:
        answer, values = decode_array(request)
    except DecodingError as error:
        crashed = isinstance(error, DecoderEndedError)
        ended = "the reader crashed or took too long" if crashed else "does not match its header"
        raise UserError(f"{path}: damaged image: {ended}; copy it again, or remove it") from None
    if answer["components"] != 1:
        raise UserError(f"{path}: {answer['components']} values per pixel; expected grayscale")
    if math.prod(values.shape[:-2]) != 1:
        raise UserError(f"{path}: a volume of shape {values.shape}; expected one slice")
    axes = len(answer["spacing"])
    affine = np.eye(4)
    affine[:axes, :axes] = np.asarray(answer["direction"]) * np.asarray(answer["spacing"])
    affine[:axes, 3] = answer["origin"]
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # from DICOM's left and back
    return as_shown(values.reshape(values.shape[-2:]), affine)


def _known(row: float, column: float) -> Spacing:
    return (row, column) if plausible_spacing(row, column) else None
