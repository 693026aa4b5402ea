"""Names of results."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines.runs.infer import find_images
from transforms.outputs.formats import ENDINGS
from transforms.reading.names import ROOM, result_name


@pytest.mark.parametrize("name", ["a", "sub/a.b", "x" * 223, "\udcff\n", f"{'y' * 250}/a"])
def test_names_that_leave_room_stay(name: str) -> None:
    assert result_name(name) == name


def test_long_names_are_cut_between_letters_and_stay_different() -> None:
    names = ["x" * 251, "x" * 250 + "y", "é" * 125, "\udcff" * 240]
    short = [result_name(f"sub/{name}") for name in names]
    assert len(set(short)) == 4
    assert short[2].startswith("sub/" + "é" * 100)
    for name in short:
        assert name.startswith("sub/")
        assert len(os.fsencode(name.removeprefix("sub/"))) <= 255 - ROOM
        name.encode()


def test_every_ending_fits(tmp_path: Path) -> None:
    (tmp_path / ("a" * 251 + ".png")).touch()
    (item,) = find_images(tmp_path)
    for ending in ENDINGS.values():
        assert not (tmp_path / "out" / f"{item['name']}{ending}").is_file()
        assert len(f"{item['name']}{ending}") <= 255
