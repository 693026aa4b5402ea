"""Checkpoints that survive a kill at any moment and load with `weights_only=True`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from engines.base.world import is_main
from nets.safe_load import reason, safe_load
from transforms.atomic_write import atomic_file
from transforms.errors import UserError


def save_checkpoint(content: Any, path: Path, previous: Path | None = None) -> None:
    """Write tensors, numbers, strings and containers of them; at any time the file is the old or the new one.

    Only the first of several processes writes.

    Args:
        content: what to write.
        path: the file.
        previous: path that the old file is moved to; until the new file is in place, only this one exists.

    Raises:
        OSError: the disk is full or not writable.
    """
    if not is_main():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as part:
        with part.open("wb") as stream, _disk_errors(part):
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
        if previous is not None and path.is_file():
            path.replace(previous)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Restore a disk's own error, which PyTorch replaces by a RuntimeError about positions."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error.__context__, OSError):
            raise
        raise OSError(error.__context__.errno, error.__context__.strerror, str(path)) from error


def load_checkpoint(path: Path) -> Any:
    """Read what `save_checkpoint` wrote, on the CPU.

    Raises:
        UserError: the file is missing, truncated, damaged, or holds more than tensors and plain values.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; train first, or give the path of one")
    try:
        return safe_load(path)
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not a readable checkpoint ({reason(error)}); delete it or give another") from error


@contextmanager
def explained() -> Iterator[None]:
    """Shorten PyTorch's error about weights of another network from a hundred lines to one.

    Raises:
        UserError: in place of that error.
    """
    try:
        yield
    except RuntimeError as error:
        lines = str(error).splitlines()
        if not lines or "loading state_dict for" not in lines[0]:
            raise
        network = lines[0].split("loading state_dict for")[-1].strip(" :")
        raise UserError(
            f"the weights are those of another network than this {network} ({len(lines) - 1} differences, the first: "
            f"{lines[1].strip()[:200] if len(lines) > 1 else 'unknown'}); give those that it was trained with"
        ) from None
