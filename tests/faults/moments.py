"""The moments at which files below a folder and the MLflow database are written; one can be the last."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sqlalchemy import event
from sqlalchemy.engine import Engine

_CHANGES = ("INSERT", "UPDATE", "DELETE")
_FILES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link"}


class Moments:
    """Counts moments in this process; sends itself a signal at one of them.

    Args:
        folder: only files below it count.
        at: number of the moment, from 1; None counts only.
        number: the signal.
        report: file that gets the moments' times, in seconds since they are counted, when the process ends in order.

    Moments are: just before a file is opened for writing, renamed, removed, or a folder is made; before a row of the
    database is changed, and before and after that is committed; while a checkpoint is half written, and before it is
    flushed to the disk.
    """

    def __init__(self, folder: Path, at: int | None, number: int, report: Path) -> None:
        self.folder, self.at, self.number, self.report = str(folder), at, number, report
        self.times: list[float] = []
        self._pid, self._start = 0, 0.0

    def install(self) -> None:
        """Begin to count; lasts as long as the process."""
        self._pid, self._start = os.getpid(), time.monotonic()  # a process that reads images has its own number
        sys.addaudithook(self._audit)
        event.listen(Engine, "before_cursor_execute", self._statement)
        event.listen(Engine, "commit", lambda _: self._moment())
        write = torch.save
        torch.save = self._halves(write)

    def finish(self) -> None:
        """Write the report."""
        times, self.at = list(self.times), None
        self.report.write_text(json.dumps([round(one, 3) for one in times]))

    def _moment(self, half: Callable[[], None] | None = None) -> None:
        if os.getpid() != self._pid:
            return
        self.times.append(time.monotonic() - self._start)
        if len(self.times) == self.at:
            if half is not None and self.number == signal.SIGKILL:
                half()
            os.kill(self._pid, self.number)

    def _audit(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name == "open":
            path, _, flags = arguments
            written = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        else:
            path, written = (arguments[0] if arguments else None), name in _FILES
        if written and isinstance(path, (str, os.PathLike)) and str(path).startswith(self.folder):
            self._moment()

    def _statement(self, _c: Any, _k: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith(_CHANGES):
            self._moment()

    def _halves(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def save(content: Any, stream: Any, *args: Any, **kwargs: Any) -> Any:
            result = write(content, stream, *args, **kwargs)
            if hasattr(stream, "fileno") and hasattr(stream, "truncate"):
                self._moment(lambda: _cut(stream))
                self._moment()
            return result

        return save


def _cut(stream: Any) -> None:
    stream.flush()
    os.ftruncate(stream.fileno(), max(1, stream.tell() // 2))
