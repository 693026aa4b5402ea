"""Arrays of probability maps written by other tools; sizes are checked in headers, before decompression."""

from __future__ import annotations

import gzip
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from transforms.errors import UserError
from transforms.reading import limits
from transforms.reading.orientation import as_shown

NAME = "probabilities"
"""Name of the array in nnU-Net's archives; of other archives, the first array is used."""
_HEADER = 348
"""Size of a NIfTI-1 header in bytes."""


def read_array(path: Path, most: int) -> NDArray[Any]:
    """Read an array as stored; for NIfTI, (classes, rows, columns), oriented by the affine like label maps.

    Args:
        path: `.nii.gz`, `.npy` or `.npz`.
        most: largest allowed number of values.

    Raises:
        UserError: the file cannot be read, or has more values.
    """
    try:
        if path.name.lower().endswith(".nii.gz"):
            return _nifti(path, most)
        if path.suffix.lower() == ".npz":
            return _archived(path, most)
        with path.open("rb") as file:
            _check(path, *_npy_header(file), most)
        return np.asarray(np.load(path, allow_pickle=False))
    except UserError:
        raise
    except Exception as error:  # libraries raise different errors for damaged files
        raise UserError(
            f"{path}: cannot be read as a probability map ({type(error).__name__}); write it again"
        ) from None


def _check(path: Path, shape: Sequence[int], kind: np.dtype[Any], most: int) -> None:
    if math.prod(shape) > most:
        raise UserError(
            f"{path}: an array of shape {tuple(shape)}; expected one probability per pixel and class, at most {most} "
            "numbers"
        )
    if kind.kind not in "fiub":
        raise UserError(f"{path}: an array of {kind}; expected numbers")


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, kind = read(file)
    return shape, kind


def _archived(path: Path, most: int) -> NDArray[Any]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        name = f"{NAME}.npy" if f"{NAME}.npy" in names else names[0]
        with archive.open(name) as file:
            _check(path, *_npy_header(file), most)
        with archive.open(name) as file:
            return npy.read_array(file, allow_pickle=False)


def _nifti(path: Path, most: int) -> NDArray[Any]:
    import nibabel

    with gzip.open(path, "rb") as file:
        head = file.read(_HEADER)
    header = nibabel.Nifti1Header(head, check=False)
    _check(path, header.get_data_shape(), header.get_data_dtype(), most)
    if not 0 <= header.get_data_offset() <= limits.HEADER_BYTES:
        raise UserError(f"{path}: damaged NIfTI header: values begin at byte {header.get_data_offset()}")
    image = nibabel.Nifti1Image.from_filename(path)
    volume = np.asarray(image.dataobj)
    values = volume.reshape(*volume.shape[:2], -1).transpose(2, 1, 0)
    if not int(header["qform_code"]) and not int(header["sform_code"]):
        return values
    return np.stack([as_shown(one, np.asarray(image.affine, float))[0] for one in values])  # as `read_volume`
