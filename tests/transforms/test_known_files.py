"""Files of a dataset folder are read once, and again if anything about them has changed."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transforms import known_files
from transforms.digests import array_sha256
from transforms.errors import UserError
from transforms.known_files import DIGEST, HEADER, VALUES, KnownFiles

ALL = HEADER | DIGEST | VALUES
LABEL = np.array([[0, 0, 3], [255, 0, 3]], np.uint8)
IMAGE = np.arange(12, dtype=np.uint16).reshape(2, 2, 3)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two arrays unchanged for longer than required, and a folder for the cache."""
    monkeypatch.setenv("MAMMOSEG_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(known_files, "SETTLED", -1.0)
    root = tmp_path / "ä data"
    root.mkdir()
    np.save(root / "label.npy", LABEL)
    np.save(root / "image.npy", IMAGE)
    return root


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read."""
    found: list[str] = []
    usual = known_files.open_array

    def noted(path: Path) -> Any:
        found.append(path.name)
        return usual(path)

    monkeypatch.setattr(known_files, "open_array", noted)
    return found


def look(root: Path, need: int = ALL, **how: bool) -> tuple[list[str], list[list[int]], list[tuple[str, Any]]]:
    """Digests, values and headers of both."""
    files = KnownFiles(root)
    with files.reading(2, "") as done:
        rows = files.look(["label.npy", "image.npy"], need, **how)
        done(2)
    return files.digests(rows), [np.flatnonzero(v).tolist() for v in files.values(rows)], files.headers(rows)


def test_a_second_start_reads_nothing(folder: Path, readings: list[str]) -> None:
    expected = (
        [array_sha256(LABEL), array_sha256(IMAGE)],
        [[0, 3, 255], []],
        [("uint8", (2, 3)), ("uint16", (2, 2, 3))],
    )
    assert look(folder) == expected
    assert sorted(readings) == ["image.npy", "label.npy"]
    assert look(folder) == look(folder) == expected
    assert len(readings) == 2
    assert look(folder, again=True) == expected
    assert len(readings) == 4
    (kept,) = (folder.parent / "cache" / "files").iterdir()
    assert kept.parent.stat().st_mode & 0o777 == 0o700


def test_more_is_read_when_more_is_asked(folder: Path, readings: list[str]) -> None:
    assert look(folder, HEADER)[2] == [("uint8", (2, 3)), ("uint16", (2, 2, 3))]
    assert look(folder, DIGEST)[0] == [array_sha256(LABEL), array_sha256(IMAGE)]
    assert look(folder, HEADER | DIGEST)[0] == [array_sha256(LABEL), array_sha256(IMAGE)]
    assert len(readings) == 4


def replaced(path: Path, array: Any) -> None:
    """Another array of the same size, with the old time of modification, as some tools leave it."""
    before = path.stat()
    np.save(path, array)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_an_edit_that_restores_size_and_time_is_found(folder: Path, readings: list[str]) -> None:
    look(folder)
    time.sleep(0.02)  # more than the system's clock ticks
    replaced(folder / "label.npy", LABEL[::-1])
    assert look(folder)[0][0] == array_sha256(LABEL[::-1])
    assert readings[2:] == ["label.npy"]


def test_what_changed_a_moment_ago_is_not_kept(
    folder: Path, readings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_files, "SETTLED", 10.0)
    look(folder)
    look(folder)
    assert len(readings) == 4
    monkeypatch.setattr(known_files, "SETTLED", -1.0)
    look(folder)
    look(folder)
    assert len(readings) == 6


def test_within_one_start_times_are_compared_once_unless_asked(folder: Path, readings: list[str]) -> None:
    files = KnownFiles(folder)
    files.look(["label.npy"], ALL)
    np.save(folder / "label.npy", LABEL[:1])
    assert files.headers(files.look(["label.npy"], ALL)) == [("uint8", (2, 3))]
    assert files.headers(files.look(["label.npy"], ALL, fresh=True)) == [("uint8", (1, 3))]


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY", None], ids=["empty", "cut", "other", "folder"])
def test_a_damaged_record_costs_a_reading(folder: Path, readings: list[str], content: bytes | None) -> None:
    expected = look(folder)
    (kept,) = (folder.parent / "cache" / "files").iterdir()
    kept.unlink()
    kept.mkdir() if content is None else kept.write_bytes(content)
    assert look(folder) == expected
    assert len(readings) == 4


@pytest.mark.parametrize("place", ["", "label.npy/below"], ids=["none", "no folder"])
def test_without_a_place_all_is_read_each_time(
    folder: Path, readings: list[str], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("MAMMOSEG_CACHE_DIR", place and str(folder / place))
    assert look(folder) == look(folder)
    assert len(readings) == 4


def test_missing_files_are_told_and_others_kept(folder: Path, readings: list[str]) -> None:
    look(folder)
    (folder / "image.npy").unlink()
    with pytest.raises(UserError, match=r"image\.npy: no such file"):
        look(folder)
    np.save(folder / "image.npy", IMAGE)
    look(folder)
    assert readings[2:] == ["image.npy", "image.npy"]


def test_an_interruption_keeps_what_was_read(folder: Path, readings: list[str]) -> None:
    def interrupted() -> None:
        files = KnownFiles(folder)
        with files.reading(2, ""):
            files.look(["label.npy"], ALL)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    look(folder)
    assert readings == ["label.npy", "image.npy"]


def test_records_that_no_run_used_for_long_are_removed(folder: Path) -> None:
    old, recent = (folder.parent / "cache" / "files" / f"{name}.npz" for name in ("old", "recent"))
    old.parent.mkdir(parents=True)
    for path, days in ((old, 91), (recent, 89)):
        path.touch()
        os.utime(path, (time.time() - days * 86400,) * 2)
    look(folder)
    assert (old.exists(), recent.exists()) == (False, True)


def test_another_process_gets_the_folder_alone(folder: Path) -> None:
    files = KnownFiles(folder)
    files.look(["label.npy"], ALL)
    assert len(pickle.dumps(files)) < 300
    assert pickle.loads(pickle.dumps(files)).root == folder
