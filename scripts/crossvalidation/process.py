"""A training in a process of its own, which is given the time to end its MLflow run when it is interrupted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from engines.base.signals import ended_by_signals

SECONDS_TO_END = 30.0
"""What an interrupted training gets before it is stopped for good."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which unlike Ctrl-C in a terminal reached this process alone."""


@contextmanager
def terminable() -> Iterator[None]:
    """Have the signals that ask a process to end (`engines.base.signals`) raise `Terminated` inside the block."""
    with ended_by_signals(_raise):
        yield


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
