"""Signals that ask a process to end: all of them are a Ctrl-C, after which a run is closed and can be resumed.

SIGTERM (kill, Kubernetes, Docker), SIGHUP (a closed terminal), SIGUSR1 and SIGUSR2 (what SLURM sends before the time is
up, `--signal`), SIGBREAK (Windows, a closed console). A handler that someone has installed stays, and so does `nohup`.
"""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

NAMES = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGBREAK")
PAUSE_SECONDS = 10.0
"""A closed terminal may send several; the second must not cut short what the first began."""

_last = [-PAUSE_SECONDS]


def handle_signals() -> None:
    """Install the handler where the default would end the process at once; Python allows it in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        return
    for name in NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, interrupted)


def interrupted(number: int, frame: Any) -> None:
    """Raise KeyboardInterrupt, unless one was raised a moment ago."""
    now = time.monotonic()
    if now - _last[0] >= PAUSE_SECONDS:
        _last[0] = now
        raise KeyboardInterrupt
