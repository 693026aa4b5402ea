"""Registry of this user's current and starting runs with their threads, which the system's load may not show yet.

One file per process, in the user's own folder below the system's temporary folder. The process holds a lock on its
file, which the system releases when the process ends, even by kill -9; the next process that looks removes the file.
"""

from __future__ import annotations

import atexit
import json
import os
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from engines.base.lock import claim, release
from engines.base.processors import process_ticks, shared_processors

PATIENCE = 120.0
"""Seconds for which a run that has not settled its number of threads counts as about to start."""
ATTEMPTS = 3


@dataclass(frozen=True)
class Running:
    """A run of another process.

    Attributes:
        pid: number of its process.
        threads: number of threads it computes with; None if not settled yet.
    """

    pid: int
    threads: int | None


class _Own:
    """The file of this process."""

    path: Path | None = None
    handle: IO[str] | None = None


def register(threads: int | None) -> None:
    """Announce to other runs that this process computes with so many threads, or, with None, that it is about to.

    Without a folder or locks, do nothing.
    """
    if _Own.handle is None or _Own.handle.closed:  # closed: in a forked process
        _Own.path, _Own.handle = _new_file()
    if _Own.handle is not None:
        content = {"pid": os.getpid(), "threads": threads, "since": time.time(), "polite": os.nice(0) > 0}
        try:
            _Own.handle.seek(0)
            _Own.handle.truncate()
            _Own.handle.write(json.dumps(content))
            _Own.handle.flush()
        except OSError:  # the disk is full
            unregister()


def unregister() -> None:
    """Withdraw this process's announcement."""
    path, handle, _Own.path, _Own.handle = _Own.path, _Own.handle, None, None
    if path is not None and handle is not None and not handle.closed:
        try:
            release(path, handle)
        except OSError:
            handle.close()


atexit.register(unregister)


def others() -> list[Running]:
    """Return this user's runs in other processes that compete for this process's processors."""
    folder, found = _folder(), []
    for path in sorted(folder.glob("run-*")) if folder is not None else ():
        if path == _Own.path:
            continue
        handle = claim(path)
        if handle is not None:  # its process has ended
            release(path, handle)
            continue
        run = _read(path)
        if run is not None and shared_processors(run.pid):
            found.append(run)
    return found


def busy_by(runs: list[Running], before: dict[int, int], seconds: float) -> float:
    """Return the number of processors that runs kept busy since `before`, their `process_ticks` `seconds` ago."""
    per_second = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    work = sum(max(0, process_ticks(run.pid) - before.get(run.pid, 0)) for run in runs if before.get(run.pid))
    return work / per_second / seconds


def _read(path: Path) -> Running | None:
    """Return the run of a file; None if it does not count: it gives way, or has been about to start for too long."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        pid, threads, since, polite = (content[key] for key in ("pid", "threads", "since", "polite"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if type(pid) is not int or not isinstance(since, int | float) or (threads is not None and type(threads) is not int):
        return None
    late = threads is None and not 0 <= time.time() - since <= PATIENCE
    return None if late or (polite and os.nice(0) <= 0) else Running(pid, threads)


def _folder() -> Path | None:
    """Return the user's own folder; None if another user created it, or the system has no user ids."""
    if not hasattr(os, "getuid"):
        return None
    path = Path(tempfile.gettempdir()) / f"mammoseg-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        about = path.lstat()
    except OSError:
        return None
    return path if stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() else None


def _new_file() -> tuple[Path | None, IO[str] | None]:
    folder = _folder()
    for _ in range(ATTEMPTS if folder is not None else 0):
        assert folder is not None
        path = folder / f"run-{os.getpid()}-{os.urandom(4).hex()}"
        handle = claim(path)
        if handle is not None:  # else another process is inspecting it at this moment
            return path, handle
    return None, None
