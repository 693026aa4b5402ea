"""Training in a separate process, which has time to end its MLflow run when interrupted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from engines.base.signals import ended_by_signals

SECONDS_TO_END = 30.0
"""Time for an interrupted training to end before it is killed."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which unlike Ctrl-C in a terminal reaches only this process."""


@contextmanager
def terminable() -> Iterator[None]:
    """Inside the block, raise `Terminated` for termination signals (`engines.base.signals`)."""
    with ended_by_signals(_raise):
        yield


def _raise(signum: int, frame: Any) -> None:
    raise Terminated


def run_training(words: Sequence[str]) -> int:
    """Run a command and return its exit code; its standard output goes to standard error.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the command has ended.
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
