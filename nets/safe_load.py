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
    """Tensors and plain values of a file, on the CPU; `torch.load` alone does not compare the checksums in it.

    Raises:
        ValueError: the file is cut short or damaged, or holds more than tensors and plain values; its text says which.
    """
    try:
        if zipfile.is_zipfile(path):  # files of before PyTorch 1.6 are none, and have no checksums
            check_sums(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # damaged bytes can raise anything
        raise ValueError(reason(error)) from error


def check_sums(path: Path) -> None:
    """Compare the checksums of a zip file, as `torch.save` and `torch.export.save` write, with its content.

    Raises:
        ValueError: one is wrong, or it is no zip file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"damaged: {reason(error)}") from error
    if damaged is not None:
        raise ValueError(f"damaged: the checksum of {damaged} in it is wrong")


def reason(error: BaseException, length: int = 160) -> str:
    """The first line of an error, cut to `length`; its kind if it has no text."""
    text = str(error).strip()
    return text.splitlines()[0][:length] if text else type(error).__name__


def not_finite(state: Mapping[str, Any]) -> list[str]:
    """Names of the tensors that hold NaN or infinity."""
    return [
        name
        for name, value in state.items()
        if isinstance(value, Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all())
    ]
