"""Signals that end a process, all handled like Ctrl-C: the run is closed and can be resumed.

SIGTERM (kill, Kubernetes, Docker), SIGHUP (a closed terminal), SIGUSR1 and SIGUSR2 (sent by SLURM before the time is
up, `--signal`), SIGBREAK (Windows, a closed console). Handlers installed elsewhere are kept, and so is `nohup`.
"""

from __future__ import annotations

import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGBREAK")
PAUSE_SECONDS = 10.0
"""A closed terminal may send several signals; the second must not interrupt the cleanup begun by the first."""

_last = [-PAUSE_SECONDS]
_asked = [False]


def handle_signals() -> None:
    """Install the handler for signals that would end the process at once; Python allows it in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        return
    _asked[0] = False
    for name in NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, interrupted)


@contextmanager
def ended_by_signals(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Like `handle_signals`, but with another handler and only inside the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    mine = [number for number in numbers if signal.getsignal(number) in (signal.SIG_DFL, interrupted)]
    before = {number: signal.signal(number, handler) for number in mine}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def interrupted(number: int, frame: Any) -> None:
    """Raise KeyboardInterrupt, unless one was raised a moment ago."""
    now = time.monotonic()
    if now - _last[0] >= PAUSE_SECONDS:
        _last[0], _asked[0] = now, True
        raise KeyboardInterrupt


def end_if_asked() -> None:
    """Raise KeyboardInterrupt if a signal came but did not end the run: Python drops exceptions raised in a destructor.

    Long-running code calls this regularly; after a signal that was not lost, none is left to call it.
    """
    if _asked[0]:
        _asked[0] = False
        raise KeyboardInterrupt


def let_go(error: BaseException) -> None:
    """Release what the functions ended by an exception still hold, such as a database cursor and its lock."""
    seen: set[int] = set()
    following: list[BaseException | None] = [error]
    while following:
        one = following.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            traceback.clear_frames(one.__traceback__)
            following += [one.__cause__, one.__context__]


def hides_interruption(error: BaseException | None, handled: BaseException | None = None) -> bool:
    """Return whether an exception hides a Ctrl-C: SQLAlchemy, for example, raises another exception during cleanup.

    Args:
        error: exception that arrived.
        handled: exception that was being handled before, which does not count.
    """
    while error is not None and error is not handled:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False
