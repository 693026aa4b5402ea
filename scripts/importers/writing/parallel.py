"""Mapping of a function over items in several processes, with results in order.

Processes are always spawned, as on Windows and macOS, so that a run on Linux behaves the same.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

from engines.base.processors import available_processors

T = TypeVar("T")
R = TypeVar("R")

MOST_WORKERS = 4  # each holds an image of up to a few hundred megabytes while it is decoded
_SMALL_BYTES, _SMALL_COUNT = 2**25, 256  # less is read in this process before others would have started
_AHEAD = 8  # results per worker that may wait for an earlier one; they are small


def worker_count(workers: int | None, files: Sequence[Path]) -> int:
    """Return the number of reader processes: as requested; else 1, or for much work one per processor, at most 4."""
    if workers:
        return min(workers, max(len(files), 1))
    if len(files) < _SMALL_COUNT and sum(_size(path) for path in files) < _SMALL_BYTES:
        return 1
    return min(MOST_WORKERS, available_processors(), len(files))


def in_order(function: Callable[[T], R], tasks: Iterable[T], workers: int, lost: Callable[[T], R]) -> Iterator[R]:
    """Yield the result of `function` for each task, in the order of the tasks.

    Args:
        function: function of a module; it must be picklable, as must tasks, results and errors.
        workers: number of processes; 1 works in this process.
        lost: returns the result of a task that ends its process, for example by a decoder's crash on a damaged file.

    An error of the function is raised in place of its result, and ends the processes.
    """
    if workers <= 1:
        yield from map(function, tasks)
        return
    rest = deque(tasks)
    while rest:
        try:
            yield from _spawned(function, rest, workers, _AHEAD * workers)
        except BrokenProcessPool:  # the task is unknown: find it by running one at a time
            suspects = deque(islice(rest, _AHEAD * workers))
            try:
                for result in _spawned(function, suspects, 1, 1):
                    rest.popleft()
                    yield result
            except BrokenProcessPool:
                yield lost(rest.popleft())


def _spawned(function: Callable[[T], R], rest: deque[T], workers: int, most_ahead: int) -> Iterator[R]:
    """Yield the results of a new pool; a task is removed from `rest` when its result is available."""
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_begin)
    ahead: deque[Future[R]] = deque()
    try:
        while rest:
            while len(ahead) < min(most_ahead, len(rest)):
                with _undisturbed():
                    ahead.append(pool.submit(function, rest[len(ahead)]))
            result = ahead.popleft().result()
            rest.popleft()
            yield result
    finally:
        with _undisturbed():  # a second Ctrl-C would leave processes behind, for which Python then waits forever
            pool.shutdown(cancel_futures=True)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Postpone Ctrl-C to the end of the block; processes started in it do not receive it, not even while they start."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    came: list[int] = []
    mask = getattr(signal, "pthread_sigmask", None)  # new processes inherit it; not on Windows
    signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    before = mask(signal.SIG_BLOCK, {signal.SIGINT}) if mask else None
    try:
        yield
    finally:
        if mask:
            mask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if came:
            raise KeyboardInterrupt


def _begin() -> None:
    """Initialize a new process: one thread, since there are several processes; ignore Ctrl-C, end with the parent."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # reported when the file is read
        return 0
