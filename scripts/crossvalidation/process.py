"""A training in a process of its own, which is given the time to end its MLflow run when it is interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from engines.base.signals import NAMES

SECONDS_TO_END = 30.0
"""What an interrupted training gets before it is stopped for good."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which unlike Ctrl-C in a terminal reached this process alone."""


@contextmanager
def terminable() -> Iterator[None]:
    """Have the signals that ask a process to end (`engines.base.signals`) raise `Terminated` inside the block."""
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    mine = [number for number in numbers if number == signal.SIGTERM or before[number] is signal.SIG_DFL]
    for number in mine:
        signal.signal(number, _raise)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, before[number])


def _raise(signum: int, frame: Any) -> None:
    raise Terminated


def run_training(words: Sequence[str]) -> int:
    """Run a command to its end and return its code; what it prints goes to standard error.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the command has ended too.
    """
    process = subprocess.Popen(words, stdout=sys.stderr)
    try:
        return process.wait()
    except KeyboardInterrupt as interruption:
        if isinstance(interruption, Terminated):
            process.terminate()
        try:
            process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
