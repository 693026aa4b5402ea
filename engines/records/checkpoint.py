"""Checkpoints that survive a kill at any moment and load with `weights_only=True`."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from engines.base.distributed import is_main
from transforms.errors import UserError


def save_checkpoint(content: Any, path: Path) -> None:
    """Write tensors, numbers, strings and containers of them; the file is either the old one or the new one.

    Of several processes only the first writes.
    """
    if not is_main():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + f".{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> Any:
    """Read what `save_checkpoint` wrote, on the CPU.

    Raises:
        UserError: the file is missing, truncated, or holds more than tensors and plain values.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; train first, or give the path of one")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        raise UserError(f"{path}: not a readable checkpoint ({reason}); delete it or give another") from error
