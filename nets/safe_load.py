"""Safe reading of files of `torch.save`: no code is executed, and damage is found before use."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def safe_load(path: Path) -> Any:
    """Load tensors and plain values of a file on the CPU; `torch.load` alone does not verify the checksums in it.

    Raises:
        ValueError: the file is truncated or damaged, or holds more than tensors and plain values; states which.
    """
    try:
        if zipfile.is_zipfile(path):  # files before PyTorch 1.6 are not zip files and have no checksums
            check_sums(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # damaged bytes can raise anything
        raise ValueError(reason(error)) from error


def check_sums(path: Path) -> None:
    """Verify the checksums of a zip file, as written by `torch.save` and `torch.export.save`.

    Raises:
        ValueError: a checksum is wrong, or it is not a zip file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"damaged: {reason(error)}") from error
    if damaged is not None:
        raise ValueError(f"damaged: the checksum of {damaged} in it is wrong")


def reason(error: BaseException, length: int = 160) -> str:
    """Return the first line of an error, cut to `length`; its type if it has no text."""
    text = str(error).strip()
    return text.splitlines()[0][:length] if text else type(error).__name__


def not_finite(state: Mapping[str, Any]) -> list[str]:
    """Return the names of the tensors with NaN or infinity."""
    return [
        name
        for name, value in state.items()
        if isinstance(value, Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all())
    ]
