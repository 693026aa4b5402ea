"""SHA-256 of files and arrays."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def array_sha256(array: NDArray[Any]) -> str:
    """SHA-256 of an array's type, shape and values, the same on every machine."""
    values = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    digest = hashlib.sha256(f"{array.dtype.name} {array.shape} ".encode())
    digest.update(values.data)
    return digest.hexdigest()
