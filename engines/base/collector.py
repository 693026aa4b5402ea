"""Postponed garbage collection: with the objects of torch and MLflow, each search takes tenths of a second."""

from __future__ import annotations

import gc
import sys

PROGRAMS = ("monai.bundle", "mammoseg")
"""Packages that are run as programs."""


_put_off = False
"""Whether `put_off` disabled the collector; a collector that the user disabled stays disabled."""


def put_off() -> None:
    """Disable the collector until `take_up` if the process serves a single run; in a notebook it stays enabled."""
    global _put_off
    if gc.isenabled() and getattr(sys.modules.get("__main__"), "__package__", None) in PROGRAMS:
        _put_off = True
        gc.disable()


def take_up() -> None:
    """Enable the collector again, for objects created from now on: everything imported is kept."""
    global _put_off
    if _put_off:
        _put_off = False
        gc.freeze()
        gc.enable()
