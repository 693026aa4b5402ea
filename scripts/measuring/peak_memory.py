"""The largest memory that a call held beyond what the process held before: Linux's count of this process."""

from __future__ import annotations

import ctypes
import gc
import math
import sys
from pathlib import Path


def reset_peak() -> float:
    """Have Linux forget the largest memory so far; return what is held now, in MB (NaN where it cannot be known).

    What was freed goes back to Linux before: it would be held already.
    """
    gc.collect()
    trim = None if sys.platform == "win32" else getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return math.nan
    return _status_mb("VmRSS")


def peak() -> float:
    """The largest memory since `reset_peak`, in MB (NaN where it cannot be known)."""
    return _status_mb("VmHWM")


def _status_mb(key: str) -> float:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # not Linux
        return math.nan
    return next(1024 * int(line.split()[1]) / 1e6 for line in lines if line.startswith(key))
