"""Number of torch threads, chosen by the machine's load unless the user specifies it.

Two trainings with two threads each on two processors wait for each other, and both take three times as long as with one
thread each. The number of threads changes the order of summation, hence the rounding.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from engines.base import running
from engines.base.processors import AT_ONCE, available_processors, busy_processors, process_ticks, ticks

logger = logging.getLogger("mammoseg")

SECONDS = 0.2
"""Seconds for which the load is measured."""
CHOSEN = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables by which a user or torchrun sets the number of threads, which is then never changed."""


class _Chosen:
    """Number of torch threads before and after it was changed."""

    before: int | None = None
    after: int | None = None


def fit_threads(quiet: bool = False) -> None:
    """Use one torch thread per processor that others leave free, at least one; log it if these are not all.

    This user's runs that are about to start, in any process, get equal shares.
    """
    running.register(None)
    most, before = _most(), ticks()
    if given() is not None or most == 1 or not before:
        return
    runs = running.others()
    work = {run.pid: process_ticks(run.pid) for run in runs}
    time.sleep(SECONDS)
    busy = max(0.0, busy_processors(before, ticks()) - running.busy_by(runs, work, SECONDS))
    allowed = available_processors()
    taken = sum(run.threads for run in runs if run.threads is not None)
    free = (round(min(allowed, len(before)) - busy) if runs else round(len(before) - busy)) - taken
    threads = max(1, min(most, allowed, free // (1 + sum(run.threads is None for run in runs))))
    _Chosen.before, _Chosen.after = most, threads
    torch.set_num_threads(threads)
    if threads == most or quiet:
        return
    logger.info(
        "%s: computing with %d thread%s. The environment variable OMP_NUM_THREADS sets another number; the number "
        "changes the rounding, and so slightly the results.",
        _why(busy, len(runs), free < allowed, (allowed, len(before))),
        *(threads, "s" if threads > 1 else ""),
    )


def _most() -> int:
    """Return the number of threads that torch uses by default."""
    number = torch.get_num_threads()
    return _Chosen.before if _Chosen.before is not None and number == _Chosen.after else number


def _why(busy: float, runs: int, crowded: bool, processors: tuple[int, int]) -> str:
    if runs:
        return f"{runs} other run{'s' if runs > 1 else ''} of yours share{'' if runs > 1 else 's'} the processors"
    if crowded:
        return f"Other programs keep {busy:.1f} of {processors[1]} processors busy"
    return f"This process may use {processors[0]} of {processors[1]} processors"


@contextmanager
def computing(keep: bool = False) -> Iterator[None]:
    """Settle the number of threads just before the first step, and announce it to other runs until the last.

    It stays for the whole run, since another number would change the rounding.

    Args:
        keep: keep the number, which an interrupted run settled already.
    """
    if not keep:
        fit_threads()
    running.register(torch.get_num_threads())
    try:
        yield
    finally:
        running.unregister()


def given() -> str | None:
    """Return the environment variable by which the user set the number of threads, if any."""
    return next((name for name in CHOSEN if os.environ.get(name)), None)


def restore_threads(threads: object) -> None:
    """Compute with as many threads as an interrupted training did, so that it ends with the same weights.

    Args:
        threads: as in its record; ignored if it is not a number, if the user sets the number, or if the machine has
            fewer processors.
    """
    if not isinstance(threads, int) or given() is not None or threads == torch.get_num_threads():
        return
    if 1 <= threads <= available_processors():
        torch.set_num_threads(threads)
        logger.info("Computing with %d thread%s, as before the interruption.", threads, "s" if threads > 1 else "")


def for_several(jobs: int, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for processes of which `jobs` compute at a time; the user's own settings are kept.

    Each gets its share of the processors, and idle threads sleep, since others need the processor.
    """
    found = dict(os.environ if environment is None else environment)
    if jobs > 1:
        found.setdefault("OMP_NUM_THREADS", str(max(1, available_processors() // jobs)))
        found.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        found[AT_ONCE] = str(jobs)
    return found
