"""`engines.infer` and its images: unreadable files, and results that may not be replaced."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import engines.runs.infer as module
from engines.runs.infer import ReadableImages, infer
from transforms.errors import UserError
from transforms.outputs.findings_table import put_row, read_rows

ITEMS = [{"image": f"{name}.png", "name": name} for name in "abc"]


def reading(item: dict[str, Any]) -> dict[str, Any]:
    if item["name"] != "b":
        return {**item, "read": True}
    try:
        raise UserError("b.png: damaged")
    except UserError as error:
        raise RuntimeError("applying transform") from error  # as MONAI wraps it


def evaluator(images: ReadableImages) -> Any:
    return SimpleNamespace(run=lambda: [item["name"] for item in images], state=SimpleNamespace(batch=None))


def test_an_image_that_cannot_be_read_is_told_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "mammoseg")
    images = ReadableImages(ITEMS, reading)
    infer(evaluator(images), images, str(tmp_path / "res"), ["findings"])
    assert images.refused == ["b.png: damaged"]
    assert images.reasons == {"b": "b.png: damaged"}
    assert "2 images segmented, 1 files refused (reasons above)" in caplog.text
    assert [item["name"] for item in images] == ["a", "c"]
    assert images.refused == ["b.png: damaged"]  # of the last run over them, not of both
    (row,) = read_rows(tmp_path / "res" / "findings.csv")
    assert "damaged" in str(row)


def test_other_errors_are_not_swallowed() -> None:
    def broken(item: dict[str, Any]) -> dict[str, Any]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(ReadableImages(ITEMS, broken))


def test_images_with_results_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "mammoseg")
    images = ReadableImages(ITEMS, reading, finished=lambda item: item["name"] != "c")
    assert (images.left_out, [item["name"] for item in images.data]) == (2, ["c"])
    done = ReadableImages(ITEMS, reading, finished=lambda item: True)
    infer(evaluator(done), done, str(tmp_path / "res"))
    assert "3 images already have results" in caplog.text
    assert not (tmp_path / "res").exists()


def test_refusals(tmp_path: Path) -> None:
    only = ReadableImages(ITEMS[1:2], reading)
    with pytest.raises(UserError, match=r"none of 1 files could be segmented; first: b\.png: damaged"):
        infer(evaluator(only), only, str(tmp_path / "res"))
    (tmp_path / "file").touch()
    images = ReadableImages(ITEMS, reading)
    with pytest.raises(UserError, match=r"--results_dir .*: cannot be written to \(Not a directory\)"):
        infer(evaluator(images), images, str(tmp_path / "file" / "res"))
    (tmp_path / "res" / "a.geojson").write_text('{"type":"FeatureCollection","features":[]}')
    with pytest.raises(UserError, match=r"a\.geojson: drawn or corrected by hand"):
        infer(evaluator(images), images, str(tmp_path / "res"), ["geojson"])


def test_reading_ahead_keeps_order_and_refusals(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "mammoseg")
    items = [{"image": f"{name}.png", "name": name} for name in "abcdefgh"]

    def slow_first(item: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.03 if item["name"] == "a" else 0)
        return reading(item)

    images = ReadableImages(items, slow_first, workers=3)
    assert [item["name"] for item in images] == list("acdefgh")
    assert images.reasons == {"b": "b.png: damaged"}
    assert [record.getMessage().split()[-1] for record in caplog.records] == [*"a", "damaged", *"cdefgh"]


def test_reading_ahead_ends_with_the_one_who_asked() -> None:
    read: list[str] = []
    items = [{"image": f"{number}.png", "name": str(number)} for number in range(50)]
    images = iter(ReadableImages(items, lambda item: read.append(item["name"]) or item, workers=2))
    assert next(images)["name"] == "0"
    images.close()
    assert len(read) <= 3


def test_processes_share_the_images_and_one_table_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The second process, then the first, which waits for it: the rows are in the order of one process."""
    caplog.set_level("INFO", "mammoseg")
    items = [{"image": f"{name}.png", "name": name} for name in "abcde"]
    for rank in (1, 0):
        for name, value in (("rank", rank), ("world_size", 2), ("is_main", rank == 0)):
            monkeypatch.setattr(module, name, lambda value=value: value)
        images = ReadableImages(items, reading)
        assert [item["name"] for item in images.data] == list("ace" if rank == 0 else "bd")

        saving: Any = SimpleNamespace(table="", finish=lambda: None)

        def run(images: ReadableImages = images, saving: Any = saving) -> None:
            for item in images:
                put_row(tmp_path, {"name": item["name"], "gland_px": "1"}, saving.table)

        infer(SimpleNamespace(run=run, state=SimpleNamespace(batch=None)), images, str(tmp_path), ["findings"], saving)
        assert saving.table == f"findings.part-{rank}.csv"
    assert [row["name"] for row in read_rows(tmp_path / "findings.csv")] == ["a", "c", "d", "e", "b"]
    assert [path.name for path in tmp_path.iterdir()] == ["findings.csv"]


def test_rows_of_an_earlier_run_stay_until_all_images_are_done_again(tmp_path: Path) -> None:
    """An interrupted run leaves the old table, and its own rows in a separate file for the next run."""
    items = [{"image": f"{name}.png", "name": name} for name in "acd"]
    for name in "xacd":
        put_row(tmp_path, {"name": name, "gland_px": "1"})
    before = (tmp_path / "findings.csv").read_bytes()
    saving: Any = SimpleNamespace(finish=lambda: None)

    def run(px: str, last: str) -> None:
        for name in "acd":
            put_row(tmp_path, {"name": name, "gland_px": px}, saving.table)
            if name == last:
                raise ZeroDivisionError

    for px, last in (("2", "c"), ("3", "a")):
        evaluator: Any = SimpleNamespace(run=lambda px=px, last=last: run(px, last), state=SimpleNamespace(batch=None))
        with pytest.raises(ZeroDivisionError):
            infer(evaluator, ReadableImages(items, reading), str(tmp_path), ["findings"], saving)
    assert (tmp_path / "findings.csv").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 3
    done = ReadableImages(items, reading, finished=lambda item: True)
    infer(evaluator, done, str(tmp_path), ["findings"], saving)
    assert {row["name"]: row["gland_px"] for row in read_rows(tmp_path / "findings.csv")} == {
        "x": "1",
        "a": "3",
        "c": "2",
        "d": "1",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["findings.csv"]
