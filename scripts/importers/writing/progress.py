"""Progress of a long command: a bar on a terminal, occasional lines in a log file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 15.0


def with_progress(
    things: Iterable[T], total: int, shown: bool = True, doing: str = "reading", seconds: float = SECONDS_BETWEEN_LINES
) -> Iterator[T]:
    """Yield the things, and show their number and rate per second on the error stream.

    On a terminal, show a bar; elsewhere one line every `seconds`, so that a batch system's log shows the progress and a
    short run logs nothing. `shown` False: no output.
    """
    console = Console(stderr=True)
    if shown and not console.is_terminal:
        yield from _lines(things, total, console, doing, seconds)
        return
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        yield from bar.track(things, total=total)


def _lines(things: Iterable[T], total: int, console: Console, doing: str, seconds: float) -> Iterator[T]:
    start = said = time.monotonic()
    for number, thing in enumerate(things, start=1):
        yield thing
        now = time.monotonic()
        if now - said >= seconds and number < total:
            said, rate = now, number / (now - start)
            left = time.strftime("%H:%M:%S", time.gmtime((total - number) / rate))
            console.print(f"{doing}: {number} of {total}, {rate:.3g} images/s, {left} left", highlight=False)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Return the images per second, as soon as known."""
        return Text("" if task.speed is None else f"{task.speed:.3g} images/s")
