"""Signals that end a process, all handled like Ctrl-C: the run is closed and can be resumed.

SIGTERM (kill, Kubernetes, Docker), SIGHUP (a closed terminal), SIGUSR1 and SIGUSR2 (what SLURM sends before the time is
up, `--signal`), SIGBREAK (Windows, a closed console). A handler that someone has installed stays, and so does `nohup`.
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
"""A closed terminal may send several; the second must not cut short what the first began."""

_last = [-PAUSE_SECONDS]
_asked = [False]


def handle_signals() -> None:
    """Install the handler where the default would end the process at once; Python allows it in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        return
    _asked[0] = False
    for name in NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, interrupted)


@contextmanager
def ended_by_signals(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """As `handle_signals`, with another handler, and only inside the block."""
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
    """Raise KeyboardInterrupt where a signal came but did not end the run: Python drops what a destructor raises.

    To be called now and then by what goes on; nothing does after a signal that was not lost.
    """
    if _asked[0]:
        _asked[0] = False
        raise KeyboardInterrupt


def let_go(error: BaseException) -> None:
    """Let go of what functions held that an exception ended, such as a database's cursor, and with it its lock."""
    seen: set[int] = set()
    following: list[BaseException | None] = [error]
    while following:
        one = following.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            traceback.clear_frames(one.__traceback__)
            following += [one.__cause__, one.__context__]


def hides_interruption(error: BaseException | None, handled: BaseException | None = None) -> bool:
    """Whether an exception was raised while a Ctrl-C passed: SQLAlchemy, for one, raises another as it cleans up.

    Args:
        error: what arrived.
        handled: the exception that was being handled before, which does not count.
    """
    while error is not None and error is not handled:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False
