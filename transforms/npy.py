"""The arrays of a dataset folder: plain .npy files, read through a memory map."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from transforms.errors import UserError

_ATTEMPTS = 10


def load_npy(path: str | Path, mmap_mode: Literal["r"] | None = "r") -> Any:
    """As `np.load` without pickles, safe in several threads.

    NumPy parses the header as Python. The parser of Python 3.11 before 3.11.8 sometimes raises SystemError while
    another thread parses, too (https://github.com/python/cpython/issues/106905): another attempt succeeds.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
        except SystemError:
            continue
    return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)


def open_array(path: str | Path) -> np.ndarray[Any, Any]:
    """Memory map of an images/ or labels/ file: (rows, columns), or (rows, columns, 3) for color images.

    Slicing the map reads only that part.
    """
    try:
        array = load_npy(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; copy the whole dataset folder again, or prepare it again") from None
    except OSError as error:
        raise not_readable(path, error) from None
    except Exception as error:  # NumPy parses the header as Python: a damaged one raises many kinds of exceptions
        raise UserError(
            f"{path}: not a NumPy array that can be read ({type(error).__name__}); prepare the dataset again"
        ) from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: an archive of arrays; expected one array; prepare the dataset again")
    if (array.ndim != 2 and array.shape[2:] != (3,)) or not array.size:
        raise UserError(f"{path}: has shape {array.shape}; expected (rows, columns) or (rows, columns, 3)")
    return array


def not_readable(path: str | Path, error: OSError) -> UserError:
    """The error for a file of a dataset folder that the system does not let us read."""
    return UserError(f"{path}: cannot be read ({error.strerror or error}); check the disk and the permissions")


def check_image_type(path: str | Path, image: np.ndarray[Any, Any]) -> None:
    """Raise UserError unless an image has an integer type that scripts.prepare writes."""
    check_type(path, str(image.dtype))


def check_type(path: str | Path, dtype: str) -> None:
    """As `check_image_type`, for the name of a type."""
    if dtype not in ("uint8", "uint16"):
        raise UserError(f"{path}: holds {dtype}; expected uint8 or uint16; prepare the dataset again")


def values_of(label: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Mask (256,) of the values in a uint8 label map, which is read strip by strip."""
    seen = np.zeros(256, bool)
    for first in range(0, label.shape[0], 256):
        seen[label[first : first + 256]] = True
    return seen
