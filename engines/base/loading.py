"""Loading of batches: processes that read ahead, and pinned memory for copies to a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engines.base.processors import available_processors, sharers
from transforms.errors import UserError

if TYPE_CHECKING:
    import torch

AUTO = "auto"
MOST = 8
"""Maximum number of reading processes per GPU: more would keep images in memory that nothing waits for."""


def on_gpu(device: torch.device | str) -> bool:
    """Return whether a device is a GPU, to which batches are copied from pinned memory while it computes."""
    return str(device).split(":")[0] == "cuda"


def overlapping_threads(number: Any, device: torch.device | str) -> int:
    """Return the number of threads that read, and that write, during inference: `number`, or the value of `auto`.

    For a GPU `auto` is half of the processors available to it, 1 to `MOST` / 2; on a CPU it is 0.

    Raises:
        UserError: neither a whole number nor `auto`.
    """
    if number != AUTO:
        return _whole(number, "--workers")
    return min(MOST // 2, max(1, reading_processes(AUTO, device) // 2)) if on_gpu(device) else 0


def reading_processes(number: Any, device: torch.device | str) -> int:
    """Return the number of processes that read images: `number`, or the value of `auto`.

    For a GPU `auto` is the number of processors available to it minus one, at most `MOST`; trainings that one command
    started at once share the processors. On a CPU it is 0: a training step uses all processors itself.

    Raises:
        UserError: neither a whole number nor `auto`.
    """
    if number != AUTO:
        return _whole(number, "--num_workers")
    if not on_gpu(device):
        return 0
    return min(MOST, max(0, available_processors() // sharers() - 1))


def _whole(number: Any, option: str) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise UserError(f"{option} {number}: expected a whole number of at least 0, or {AUTO}")
    return number
