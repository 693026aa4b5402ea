"""Commands in forked copies of this process, which has imported everything: they start at once."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import runpy
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MOST_GB, STOP_GB = 2.0, 5.0
"""A fault, and what this machine is protected from."""
SIGNALS = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
_PAUSE = 0.02


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: exit code, or minus the signal that ended it.
        seconds: that it ran.
        busy: processor seconds of it and of its descendants that it waited for.
        gb: most memory of it and its descendants at one time.
        output: what it printed.
        stopped: why it was stopped from here, or "".
    """

    code: int
    seconds: float
    busy: float
    gb: float
    output: str
    stopped: str = ""


def forked(
    job: Callable[[], object], log: Path, limit: float, watch: Callable[[int, float], None] | None = None
) -> Ended:
    """Run a function as a command of its own.

    Args:
        job: what to do; an integer that it returns is the exit code.
        log: file of what it prints.
        limit: seconds after which it is stopped.
        watch: called again and again with its number and the seconds that it has run.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _child(job, log)
    start, most, stopped = time.monotonic(), 0.0, ""
    while True:
        done, status, used = os.wait4(pid, os.WNOHANG)
        seconds = time.monotonic() - start
        if done:
            break
        most = max(most, tree_gb(pid))
        if not stopped and (seconds > limit or most > STOP_GB):
            stopped = f"{most:.1f} GB" if most > STOP_GB else f"{seconds:.0f} s"
            end_session(pid)
        if watch is not None:
            watch(pid, seconds)
        time.sleep(_PAUSE)
    end_session(pid)
    code = os.waitstatus_to_exitcode(status)
    output = log.read_bytes().decode("utf-8", "backslashreplace")
    return Ended(code, seconds, used.ru_utime + used.ru_stime, max(most, used.ru_maxrss / 2**20), output, stopped)


def import_all(job: Callable[[], object], folder: Path) -> None:
    """Do a job once in a copy of this process, and import here what it imported, for the copies to come."""
    path = folder / "modules.json"

    def told() -> None:
        job()
        path.write_text(json.dumps(sorted(sys.modules)))

    ended = forked(told, folder / "modules.log", 900)
    assert ended.code == 0, ended.output
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in json.loads(path.read_text()):
            if name not in sys.modules and not name.startswith("__"):
                with contextlib.suppress(Exception):
                    importlib.import_module(name)


def bundle(words: Sequence[str]) -> Callable[[], None]:
    """`python -m monai.bundle run …` as a job."""

    def job() -> None:
        sys.argv = ["monai.bundle", "run", *words]
        runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)

    return job


def end_session(pid: int) -> None:
    """Kill what is left of a command: it is the leader of a session of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def tree_gb(pid: int) -> float:
    """Resident memory of a process and its descendants; pages that several share count for each."""
    total, rest = 0, [pid]
    page = os.sysconf("SC_PAGE_SIZE")
    while rest:
        one = rest.pop()
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * page
            rest += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
        except (OSError, IndexError):
            continue
    return total / 2**30


def _child(job: Callable[[], object], log: Path) -> None:
    """Never returns."""
    code = 1
    try:
        os.setsid()
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for stream in (1, 2):
            os.dup2(out, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.excepthook = sys.__excepthook__
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for name in SIGNALS:
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        code = _code(job)
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        with contextlib.suppress(Exception):
            traceback.print_exc()
            sys.stderr.flush()
        code = code or 1
    finally:
        os._exit(code & 0xFF)


def _code(job: Callable[[], object]) -> int:
    """The exit code of a job, after what Python would print."""
    try:
        result = job()
        return result if isinstance(result, int) else 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        return 1
