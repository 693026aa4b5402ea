"""Peak memory of a call beyond what the process held before, as counted by Linux."""

from __future__ import annotations

import ctypes
import gc
import math
import sys
from pathlib import Path


def reset_peak() -> float:
    """Reset the peak memory; return the memory held now, in MB (NaN if unknown).

    Freed memory is returned to Linux first, since it would otherwise count as held.
    """
    gc.collect()
    trim = None if sys.platform == "win32" else getattr(ctypes.CDLL(None), "malloc_trim", None)  # only in glibc
    if trim is not None:
        trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return math.nan
    return _status_mb("VmRSS")


def peak() -> float:
    """Return the peak memory since `reset_peak`, in MB (NaN if unknown)."""
    return _status_mb("VmHWM")


def _status_mb(key: str) -> float:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # not Linux
        return math.nan
    return next(1024 * int(line.split()[1]) / 1e6 for line in lines if line.startswith(key))
