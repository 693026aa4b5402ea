"""Number of torch threads: what the machine has room for, unless the user specifies it.

Two trainings with two threads each on two processors do not share them; they wait for each other, and both take three
times as long as with one thread each. The number changes in which order sums are taken, hence their rounding.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping

import torch

from engines.base.processors import available_processors, busy_processors, ticks

logger = logging.getLogger("mammoseg")

SECONDS = 0.2
"""For which the load is watched."""
CHOSEN = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables by which a user, or torchrun, says how many; such a number is never changed."""


def fit_threads() -> None:
    """Give torch one thread for each processor that others leave free, at least one; say so if that is not all."""
    own, before = torch.get_num_threads(), ticks()
    if given() is not None or own == 1 or not before:
        return
    time.sleep(SECONDS)
    busy, allowed = busy_processors(before, ticks()), available_processors()
    free = round(len(before) - busy)
    threads = max(1, min(own, allowed, free))
    if threads == own:
        return
    torch.set_num_threads(threads)
    logger.info(
        "%s: computing with %d thread%s. The environment variable OMP_NUM_THREADS sets another number; the number "
        "changes the rounding, and so slightly the results.",
        f"Other programs keep {busy:.1f} of {len(before)} processors busy"
        if free < allowed
        else f"This process may use {allowed} of {len(before)} processors",
        *(threads, "s" if threads > 1 else ""),
    )


def given() -> str | None:
    """The variable by which the user said how many threads, if any."""
    return next((name for name in CHOSEN if os.environ.get(name)), None)


def restore_threads(threads: object) -> None:
    """Compute with as many threads as an interrupted training did, so that it ends with the same weights.

    Args:
        threads: as in its record; nothing is done for anything but a number, if the user says how many, or if the
            machine has fewer processors.
    """
    if not isinstance(threads, int) or given() is not None or threads == torch.get_num_threads():
        return
    if 1 <= threads <= available_processors():
        torch.set_num_threads(threads)
        logger.info("Computing with %d thread%s, as before the interruption.", threads, "s" if threads > 1 else "")


def for_several(jobs: int, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of processes of which `jobs` compute at a time; what the user set stays.

    Each gets its share of the processors, and threads without work sleep, since others need the processor.
    """
    found = dict(os.environ if environment is None else environment)
    if jobs > 1:
        found.setdefault("OMP_NUM_THREADS", str(max(1, available_processors() // jobs)))
        found.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return found
