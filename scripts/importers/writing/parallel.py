"""A function mapped over items in several processes, with results in order.

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
from itertools import islice
from pathlib import Path
from typing import TypeVar

from engines.base.processors import available_processors

T = TypeVar("T")
R = TypeVar("R")

MOST_WORKERS = 4  # each holds an image of up to a few hundred megabytes while it is decoded
_SMALL_BYTES, _SMALL_COUNT = 2**25, 256  # read in this process before others have started
_AHEAD = 8  # results per worker that may wait for an earlier one; they are small


def worker_count(workers: int | None, files: Sequence[Path]) -> int:
    """How many processes read the files: as asked for; else one, or for much work one a processor, at most 4."""
    if workers:
        return min(workers, max(len(files), 1))
    if len(files) < _SMALL_COUNT and sum(_size(path) for path in files) < _SMALL_BYTES:
        return 1
    return min(MOST_WORKERS, available_processors(), len(files))


def in_order(function: Callable[[T], R], tasks: Iterable[T], workers: int, lost: Callable[[T], R]) -> Iterator[R]:
    """Results of `function` for each task, in the order of the tasks.

    Args:
        function: of a module, so that it pickles, as do tasks, results and errors.
        workers: processes; 1 works in this one.
        lost: gives the result of a task that ends its process, as a damaged file can make a decoder do.

    An error of the function is raised where its result would have been, and ends the processes.
    """
    if workers <= 1:
        yield from map(function, tasks)
        return
    rest = deque(tasks)
    while rest:
        try:
            yield from _spawned(function, rest, workers, _AHEAD * workers)
        except BrokenProcessPool:  # it does not say by which task: one at a time will tell
            suspects = deque(islice(rest, _AHEAD * workers))
            try:
                for result in _spawned(function, suspects, 1, 1):
                    rest.popleft()
                    yield result
            except BrokenProcessPool:
                yield lost(rest.popleft())


def _spawned(function: Callable[[T], R], rest: deque[T], workers: int, most_ahead: int) -> Iterator[R]:
    """Results of a new pool; a task leaves `rest` when its result is there."""
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_begin)
    ahead: deque[Future[R]] = deque()
    try:
        while rest:
            while len(ahead) < min(most_ahead, len(rest)):
                ahead.append(pool.submit(function, rest[len(ahead)]))
            result = ahead.popleft().result()
            rest.popleft()
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """In a new process: one thread, since there are several processes; leave Ctrl-C to the parent, end when it does."""
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
    except OSError:  # the reader will find out and say so
        return 0
