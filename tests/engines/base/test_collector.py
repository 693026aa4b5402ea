"""No search for unreachable objects between the imports of a program and its first step, and only there."""

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


@pytest.mark.parametrize(
    ("package", "searches"), [("monai.bundle", False), ("mammoseg", False), ("", True), (None, True)]
)
def test_put_off_in_a_program_alone(monkeypatch: pytest.MonkeyPatch, package: str | None, searches: bool) -> None:
    main = ModuleType("__main__")
    main.__package__ = package
    monkeypatch.setitem(sys.modules, "__main__", main)
    put_off()
    assert gc.isenabled() is searches


def test_taken_up_without_what_was_there() -> None:
    gc.disable()
    take_up()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 1000


def test_a_notebook_keeps_its_searches_whole() -> None:
    before = gc.get_freeze_count()
    take_up()
    assert gc.get_freeze_count() == before
