"""Searches for unreachable objects, each of which takes tenths of a second beside those of torch and MLflow."""

from __future__ import annotations

import gc
import sys

PROGRAMS = ("monai.bundle", "mammoseg")
"""Packages that are run as programs."""


def put_off() -> None:
    """Search for none until `take_up`, in a process that is there for one run; in a notebook they go on."""
    if getattr(sys.modules.get("__main__"), "__package__", None) in PROGRAMS:
        gc.disable()


def take_up() -> None:
    """Search again, but among what is made from now on: all that was imported stays."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
