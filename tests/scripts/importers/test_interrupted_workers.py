"""Ctrl-C while several processes read images."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from functools import partial

import pytest

from scripts.importers.writing.parallel import in_order

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def lost(task: object) -> None:
    raise AssertionError(f"{task}: its process ended")


def test_a_second_ctrl_c_leaves_no_process_behind() -> None:
    results = in_order(time.sleep, [0.0] + [0.5] * 7, 2, lost)
    next(results)
    second = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    second.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            results.close()  # as after the first Ctrl-C: waits for the tasks that were begun
        assert multiprocessing.active_children() == []
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        for child in multiprocessing.active_children():
            child.kill()


def test_processes_do_not_receive_ctrl_c_even_while_they_start() -> None:
    """`pthread_sigmask` returns the blocked signals, which are those that the process was started with."""
    blocked = list(in_order(partial(signal.pthread_sigmask, signal.SIG_BLOCK), [(), ()], 2, lost))
    assert all(signal.SIGINT in signals for signals in blocked)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
