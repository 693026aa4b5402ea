"""How batches reach a device: by processes that read ahead, and through pinned memory where a GPU takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engines.base.processors import available_processors, sharers
from transforms.errors import UserError

if TYPE_CHECKING:
    import torch

AUTO = "auto"
MOST = 8
"""Processes that read for one GPU: more of them keep images in memory that nothing waits for."""


def on_gpu(device: torch.device | str) -> bool:
    """Whether a device is a GPU that batches are copied to, from pinned memory and while it computes."""
    return str(device).split(":")[0] == "cuda"


def overlapping_threads(number: Any, device: torch.device | str) -> int:
    """How many threads read, and how many write, while a network segments: `number`, or what `auto` comes to.

    For a GPU `auto` takes half of the processors that there are for it, 1 to `MOST` / 2; on a CPU none.

    Raises:
        UserError: neither a whole number nor `auto`.
    """
    if number != AUTO:
        return _whole(number, "--workers")
    return min(MOST // 2, max(1, reading_processes(AUTO, device) // 2)) if on_gpu(device) else 0


def reading_processes(number: Any, device: torch.device | str) -> int:
    """How many processes read images: `number`, or what `auto` comes to.

    For a GPU `auto` takes the processors that there are for it, but for one, and at most `MOST`; trainings that one
    command started at once share them. On a CPU it takes none: a step uses all processors itself.

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
