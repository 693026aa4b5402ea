"""Searches for unreachable objects, each of which takes tenths of a second beside those of torch and MLflow."""

from __future__ import annotations

import gc
import sys

PROGRAMS = ("monai.bundle", "mammoseg")
"""Packages that are run as programs."""


_put_off = False
"""Whether it was done here: who has searches off for reasons of their own keeps them off."""


def put_off() -> None:
    """Search for none until `take_up`, in a process that is there for one run; in a notebook they go on."""
    global _put_off
    if gc.isenabled() and getattr(sys.modules.get("__main__"), "__package__", None) in PROGRAMS:
        _put_off = True
        gc.disable()


def take_up() -> None:
    """Search again, but among what is made from now on: all that was imported stays."""
    global _put_off
    if _put_off:
        _put_off = False
        gc.freeze()
        gc.enable()
