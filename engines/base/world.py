"""The processes that torchrun started together, for code that does not need torch itself, such as comparisons."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from transforms.errors import UserError


def _distributed() -> Any:
    """Return `torch.distributed` if there are several processes, else None."""
    group = getattr(sys.modules.get("torch"), "distributed", None)
    if group is None or not group.is_available() or not group.is_initialized():
        return None
    return group if group.get_world_size() > 1 else None


def world_size() -> int:
    """Return the number of processes that train together."""
    group = _distributed()
    return 1 if group is None else int(group.get_world_size())


def rank() -> int:
    """Return the number of this process, from 0."""
    group = _distributed()
    return 0 if group is None else int(group.get_rank())


def is_main() -> bool:
    """Return whether this process is the one that writes and prints."""
    return rank() == 0


def shard(items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return this process's share of a data set's items: every n-th subject with all its images.

    Raises:
        UserError: there are more processes than subjects; a process without any would never answer the others.
    """
    numbers = {subject: n for n, subject in enumerate(dict.fromkeys(item["subject"] for item in items))}
    if world_size() > len(numbers):
        raise UserError(
            f"{world_size()} processes share {len(numbers)} validation subjects: each needs one; start fewer processes"
        )
    return [item for item in items if numbers[item["subject"]] % world_size() == rank()]


def gathered(things: Sequence[Any]) -> list[Any]:
    """Return to every process what all processes hold, in the order of the processes."""
    group = _distributed()
    if group is None:
        return list(things)
    parts: list[Any] = [None] * group.get_world_size()
    group.all_gather_object(parts, list(things))
    return [thing for part in parts for thing in part]
