"""Processors of this machine: number available to this process, and their load."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

PROC, STAT, QUOTA = Path("/proc"), Path("/proc/stat"), Path("/sys/fs/cgroup/cpu.max")
Ticks = Mapping[int, tuple[float, float]]
"""Processor → (ticks at work, all ticks), since the machine started."""

AT_ONCE = "MAMMOSEG_AT_ONCE"
"""Environment variable in which a command passes the number of trainings that it runs at once."""


def available_processors() -> int:
    """Return the number of processors that this process may use: those it is bound to, or its container's share."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text().split()[:2]
        return max(1, min(bound, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, or "max"
        return bound


def sharers() -> int:
    """Return the number of trainings, this one included, that torchrun or a command runs on these processors."""
    return max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")) * int(os.environ.get(AT_ONCE, "1")))


def ticks() -> Ticks:
    """Read how long each processor that this process may use was at work; empty if the system does not report it.

    Work at a lower priority than this process's own does not count, since it gives way.
    """
    try:
        lines = STAT.read_text().splitlines()
        allowed = os.sched_getaffinity(0)
        polite = os.nice(0) <= 0
    except (OSError, AttributeError):
        return {}
    found = {}
    for name, *fields in (line.split() for line in lines if line.startswith("cpu")):
        if name[3:].isdecimal() and int(name[3:]) in allowed:
            user, nice, system, idle, wait = (float(field) for field in fields[:5])
            found[int(name[3:])] = (user + system + (0.0 if polite else nice), user + nice + system + idle + wait)
    return found


def busy_processors(before: Ticks, after: Ticks) -> float:
    """Return the number of processors at work between two calls of `ticks`, such as 1.5."""
    shares = 0.0
    for processor in before.keys() & after.keys():
        work, total = (late - early for late, early in zip(after[processor], before[processor], strict=True))
        shares += work / total if total > 0 else 0.0
    return shares


def process_ticks(pid: int) -> int:
    """Return the ticks that a process was at work, with all its threads; 0 if the system does not report them."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    except (OSError, ValueError, IndexError):
        return 0


def shared_processors(pid: int) -> bool:
    """Return whether a process may use any of the processors that this process may use."""
    try:
        return bool(os.sched_getaffinity(pid) & os.sched_getaffinity(0))
    except (OSError, AttributeError):  # the process has ended, or the system does not report it
        return True
