"""The writer of all importers: numbering, splitting, and a folder that is complete or absent."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from repository import ROOT

from engines.base import lock
from scripts.importers.import_options import ImportOptions
from scripts.importers.writing import staging, writer
from scripts.importers.writing.cases import Case
from scripts.importers.writing.split import validation_groups
from scripts.importers.writing.staging import staged_folder
from transforms.dataset import Dataset
from transforms.errors import UserError
from transforms.reading.mammogram import Mammogram


def left_behind(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_the_split_never_changes() -> None:
    """Known answer: a change here would silently compare runs on different splits."""
    groups = [f"s{number:03d}" for number in range(1, 11)]
    assert sorted(validation_groups(groups, 0.3, 0)) == KNOWN_SPLIT
    assert validation_groups(reversed(groups), 0.3, 0) == set(KNOWN_SPLIT)


NAMED = ImportOptions(name="n", progress=False)
KNOWN_SPLIT = ["s003", "s009", "s010"]


@pytest.mark.parametrize(("n", "fraction", "count"), [(2, 0.01, 1), (2, 0.99, 1), (10, 0.25, 2), (60, 0.3, 18)])
def test_both_sides_of_the_split_have_a_subject(n, fraction, count) -> None:
    assert len(validation_groups([str(number) for number in range(n)], fraction, 0)) == count


def case(number: int) -> Case:
    pixels = np.full((4, 4), number, np.uint16)
    return Case(
        source=Path(__file__),
        subject=str(number),
        read_image=lambda: Mammogram(pixels, (0, 4095), "L", "CC"),
        read_label=lambda shape: np.eye(*shape, dtype=np.uint8),
    )


def test_names_of_equal_views_are_made_unique(tmp_path) -> None:
    writer.write_dataset(tmp_path / "out", [case(1), case(1), case(2)], NAMED, labels=["a", "b"])
    names = sorted(path.name for path in (tmp_path / "out" / "images").iterdir())
    assert names == ["s001_L_CC.npy", "s001_L_CC_2.npy", "s002_L_CC.npy"]


def test_images_only(tmp_path) -> None:
    cases = [Case(Path(__file__), str(number), case(number).read_image) for number in range(3)]
    with pytest.raises(UserError, match="none of the 3 images has a label; nothing can be trained"):
        writer.write_dataset(tmp_path / "out", cases, ImportOptions(progress=False), labels=["a", "b"])
    summary = writer.write_dataset(tmp_path / "out", cases, ImportOptions(progress=False), images_only=True)
    assert summary.sections == {"training": 0, "validation": 0, "test": 3}
    dataset = Dataset.load(tmp_path / "out")
    assert dataset.labels == {}
    with pytest.raises(UserError, match="holds test images only"):
        dataset.class_weights()


def test_copies_in_two_sections_and_absent_classes_are_noted(tmp_path) -> None:
    summary = writer.write_dataset(
        tmp_path / "out",
        [case(7), Case(Path(__file__), "other", case(7).read_image, case(7).read_label)],
        NAMED,
        labels=["a", "b", "c"],
    )
    assert "no training pixel of c" in summary.notes
    assert any(note.startswith("1 images are in two sections: s00") for note in summary.notes)


def test_ctrl_c_leaves_nothing(tmp_path) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    cases = [case(1), Case(Path(__file__), "x", interrupted), case(2)]
    with pytest.raises(KeyboardInterrupt):
        writer.write_dataset(tmp_path / "out", cases, NAMED, labels=["a", "b"])
    assert list(tmp_path.iterdir()) == []


KILLED = """
import sys, time
from pathlib import Path
from scripts.importers.writing.staging import staged_folder
with staged_folder(Path(sys.argv[1]), False) as stage:
    (stage / "images").mkdir()
    print("started", flush=True)
    time.sleep(60)
"""


def test_kill_9_leaves_no_output_and_the_next_run_removes_the_rest(tmp_path) -> None:
    out = tmp_path / "out [1]"
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(out)], stdout=subprocess.PIPE, cwd=ROOT)
    assert child.stdout.readline() == b"started\n"
    writer.write_dataset(tmp_path / "other", [case(1), case(2)], NAMED, labels=["a", "b"])
    with staged_folder(out, False):
        assert len(left_behind(tmp_path)) == 2  # the other run is alive, and is left alone
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    out.rmdir()
    assert len(left_behind(tmp_path)) == 1
    writer.write_dataset(out, [case(1), case(2)], NAMED, labels=["a", "b"])
    assert left_behind(tmp_path) == []
    Dataset.load(out)


def test_two_runs_for_one_output_the_second_does_not_destroy_the_first(tmp_path) -> None:
    late = staged_folder(tmp_path / "out", False)
    (late.__enter__() / "dataset.json").write_text("{}")
    writer.write_dataset(tmp_path / "out", [case(1), case(2)], NAMED, labels=["a", "b"])
    with pytest.raises(UserError, match="exists and is not empty"):
        late.__exit__(None, None, None)
    Dataset.load(tmp_path / "out")
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("before", [False, True], ids=["absent", "empty"])
def test_what_another_run_makes_at_the_last_moment_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    out, check = tmp_path / "out", staging.check_output
    if before:
        out.mkdir()
    late = staged_folder(out, False)
    (late.__enter__() / "dataset.json").write_text("mine")

    def overtaken(*arguments: Any, **options: Any) -> None:
        check(*arguments, **options)
        out.mkdir(exist_ok=True)
        (out / "dataset.json").write_text("theirs")

    monkeypatch.setattr(staging, "check_output", overtaken)
    with pytest.raises(UserError, match="exists and is not empty"):
        late.__exit__(None, None, None)
    assert (out / "dataset.json").read_text() == "theirs"
    assert left_behind(tmp_path) == []


def test_runs_that_start_and_end_at_once_never_lose_their_folder(tmp_path: Path) -> None:
    for number in range(100):
        out, start, unexpected = tmp_path / str(number), threading.Barrier(3), []

        def make(out: Path = out, start: threading.Barrier = start, unexpected: list[str] = unexpected) -> None:
            start.wait()
            try:
                with staged_folder(out, False) as stage:
                    (stage / "dataset.json").write_text("{}")
            except UserError as error:
                unexpected += [] if "exists and is not empty" in str(error) else [str(error)]
            except OSError as error:
                unexpected.append(repr(error))

        threads = [threading.Thread(target=make) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert unexpected == []
        assert [path.name for path in out.iterdir()] == ["dataset.json"]
    assert left_behind(tmp_path) == []


@pytest.mark.skipif(lock.fcntl is None, reason="locks of POSIX")
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", none)
    writer.write_dataset(tmp_path / "out", [case(1), case(2)], NAMED, labels=["a", "b"])
    Dataset.load(tmp_path / "out")
    assert left_behind(tmp_path) == []


def test_what_is_being_replaced_by_a_run_that_is_alive_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with staged_folder(out, False) as stage:
        (stage / "dataset.json").write_text("{}")
    with staged_folder(out, overwrite=True) as stage:
        out.rename(stage.parent / "old")  # as when it is about to end
        with pytest.raises(UserError, match="early"), staged_folder(out, overwrite=False):
            raise UserError("early")
        assert not out.exists()
        (stage.parent / "old").rename(out)


def test_overwriting_loses_nothing_that_an_import_did_not_write(tmp_path: Path) -> None:
    out = tmp_path / "out"
    writer.write_dataset(out, [case(1), case(2)], NAMED, labels=["a", "b"])
    (out / "models").mkdir()
    (out / ".DS_Store").touch()
    with pytest.raises(UserError, match="also holds models, which no import wrote"):
        writer.write_dataset(out, [case(1), case(2)], replace(NAMED, overwrite=True), labels=["a", "b"])
    (out / "models").rename(tmp_path / "models")
    writer.write_dataset(out, [case(1), case(2)], replace(NAMED, overwrite=True), labels=["a", "b"])
    assert left_behind(tmp_path) == []


def test_overwriting_a_link_leaves_what_it_leads_to(tmp_path: Path) -> None:
    writer.write_dataset(tmp_path / "there", [case(1), case(2)], NAMED, labels=["a", "b"])
    (tmp_path / "out").symlink_to("there")
    writer.write_dataset(tmp_path / "out", [case(1), case(2)], replace(NAMED, overwrite=True), labels=["a", "b"])
    Dataset.load(tmp_path / "there")
    Dataset.load(tmp_path / "out")
    assert not (tmp_path / "out").is_symlink()
    assert left_behind(tmp_path) == []


def test_what_no_folder_can_be_renamed_to_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(UserError, match="link: a broken link"):
        writer.write_dataset(tmp_path / "link", [], NAMED, labels=["a", "b"])
    monkeypatch.setattr("os.path.ismount", lambda path: Path(path).name == "disk")
    with pytest.raises(UserError, match=r"disk: is a mounted disk.*specify a folder in it"):
        writer.write_dataset(tmp_path / "disk", [], NAMED, labels=["a", "b"])


def test_128_images_take_seconds(tmp_path) -> None:
    start = time.perf_counter()
    cases = [
        Case(
            Path(__file__),
            str(number // 4),
            lambda number=number: Mammogram(np.full((256, 192), number, np.uint16), (0, 4095)),
            lambda shape: np.eye(*shape, dtype=np.uint8),
        )
        for number in range(128)
    ]
    summary = writer.write_dataset(tmp_path / "out", cases, NAMED, labels=["a", "b"])
    assert summary.sections == {"training": 88, "validation": 40, "test": 0}
    assert time.perf_counter() - start < 20


def test_a_data_set_whose_replacement_was_killed_between_the_renames_is_back(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / ".out.partial-1" / "old").mkdir(parents=True)
    (tmp_path / ".out.partial-1" / "old" / "dataset.json").write_text("{}")
    with pytest.raises(UserError, match="exists and is not empty"), staged_folder(out, overwrite=False):
        pass
    assert (out / "dataset.json").read_text() == "{}"
    with staged_folder(out, overwrite=True) as stage:
        (stage / "new").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in out.iterdir()] == ["new"]
