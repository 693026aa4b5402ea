"""Garbage collection is disabled from the imports of a program to its first step, and only there."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from engines.base.collector import put_off, take_up


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    gc.enable()
    gc.unfreeze()


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What is run as a program."""
    module = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module


@pytest.mark.parametrize("package", ["monai.bundle", "mammoseg"])
def test_put_off_in_a_program_and_taken_up_without_what_was_there(main: ModuleType, package: str) -> None:
    main.__package__ = package
    put_off()
    assert not gc.isenabled()
    take_up()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 1000


@pytest.mark.parametrize("package", ["", None, "ipykernel"])
def test_others_keep_their_searches_as_they_are(main: ModuleType, package: str | None) -> None:
    main.__package__ = package
    before = gc.get_freeze_count()
    put_off()
    assert gc.isenabled()
    take_up()
    assert gc.get_freeze_count() == before


def test_searches_that_were_off_stay_off(main: ModuleType) -> None:
    main.__package__ = "monai.bundle"
    gc.disable()
    put_off()
    take_up()
    assert not gc.isenabled()
