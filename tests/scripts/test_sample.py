"""The embedded sample: made through an importer, reproducible, complete or absent."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

import numpy as np
import pytest

from scripts import sample
from scripts.importers.writing.split import validation_groups
from scripts.phantom.anatomy import SIDES, VIEWS
from scripts.phantom.mass import subject_mass
from scripts.phantom.view import make_view
from transforms.errors import UserError

SUBJECTS = 6  # each scanner once


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "sample"
    return sample.make_sample(out, subjects=SUBJECTS, height=256, progress=False)


def items(folder: Path) -> list[dict]:
    content = json.loads((folder / "dataset.json").read_text())
    return content["training"] + content["validation"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_holds_four_views_of_every_subject(made: Path) -> None:
    found = {(item["subject"], item["laterality"], item["view"]) for item in items(made)}
    assert len(found) == len(items(made)) == 4 * SUBJECTS
    assert {key[1:] for key in found} == {(side, view) for side in SIDES for view in VIEWS}
    assert {tuple(item["spacing_mm"]) for item in items(made)} == {(0.9375, 0.9375)}


def test_default_labels_and_split(made: Path) -> None:
    content = json.loads((made / "dataset.json").read_text())
    assert list(content["labels"].values()) == list(sample.CLASSES)
    assert all(content["pixel_fraction"][name] > 0 for name in sample.CLASSES)
    subjects = [{item["subject"] for item in content[part]} for part in ("training", "validation")]
    assert [len(part) for part in subjects] == [4, 2]
    assert not subjects[0] & subjects[1]


def test_imported_labels_are_the_masks_bit_for_bit(made: Path) -> None:
    """Skin, nipple, vessel and calcification take the class of what surrounds them; text is background."""
    by_source = {item["source_sha256"]: item for item in items(made)}
    for subject in range(SUBJECTS):
        for side in SIDES:
            for view in VIEWS:
                source = made / "source" / f"p{subject + 1:03d}" / f"{side}_{view}.dcm"
                item = by_source[hashlib.sha256(source.read_bytes()).hexdigest()]
                masks = make_view(0, subject, side, view).masks
                expected = np.zeros((256, 192), np.uint8)
                for number, name in enumerate(sample.CLASSES[1:], start=1):
                    if name in masks:
                        expected[masks[name]] = number
                assert np.array_equal(np.load(made / item["label"]), expected)
                assert (item["laterality"], item["view"]) == (side, view)


def test_imported_images_are_bright_where_dense_whatever_the_scanner(made: Path) -> None:
    for item in items(made):
        image, label = np.load(made / item["image"]), np.load(made / item["label"])
        air, fat, gland = (np.median(image[label == number]) for number in range(3))
        assert air < fat < gland


def test_two_runs_are_the_same_to_the_byte(tmp_path: Path) -> None:
    first, second = (sample.make_sample(tmp_path / name, subjects=2, height=128, progress=False) for name in ("a", "b"))
    assert contents(first) == contents(second)
    other = sample.make_sample(tmp_path / "c", subjects=2, height=128, seed=1, progress=False)
    assert contents(first)["source/p001/L_CC.dcm"] != contents(other)["source/p001/L_CC.dcm"]


def test_a_subject_does_not_depend_on_how_many_there_are(made: Path, tmp_path: Path) -> None:
    sample.write_sources(tmp_path / "source", range(1, 2), 0, 256, False)
    for path in (tmp_path / "source").rglob("*.*"):
        assert path.read_bytes() == (made / path.relative_to(tmp_path)).read_bytes()


def test_default_size_stays_under_210_megabytes(tmp_path: Path) -> None:
    sample.make_sample(tmp_path / "sample", subjects=2, progress=False)
    assert sum(map(len, contents(tmp_path / "sample").values())) * sample.SUBJECTS / 2 < 210e6


def test_default_split_validates_on_enough_masses() -> None:
    names = [f"s{subject + 1:03d}" for subject in range(sample.SUBJECTS)]
    validation = {names.index(name) for name in validation_groups(names, 0.3, 0)}
    women = {subject for subject in range(sample.SUBJECTS) if subject_mass(0, subject)}
    assert (len(women), len(validation)) == (28, 17)
    assert len(women & validation) == 10, "each is seen in two views: 20 lesions"


def test_says_that_it_is_synthetic(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Not for clinical use" in (made / "README.txt").read_text()
    assert "Not for clinical use" in json.loads((made / "dataset.json").read_text())["reference"]
    assert sample.main(["--help"]) == 0
    assert "not for clinical use" in " ".join(capsys.readouterr().out.lower().split())


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(tmp_path / "out"), "--subjects", "2", "--height", "128"]
    assert sample.main(arguments) == 0
    assert "2 synthetic subjects, 8 images" in capsys.readouterr().out
    before = contents(tmp_path / "out")

    assert sample.main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert "not empty" in error
    assert "--overwrite" in error
    assert len(error.splitlines()) == 1

    assert sample.main([*arguments, "--seed", "1", "--overwrite"]) == 0
    assert contents(tmp_path / "out").keys() == before.keys()
    assert contents(tmp_path / "out") != before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("arguments", [[], ["out", "--subjects", "1"], ["out", "--height", "x"], ["a", "b"]])
def test_wrong_arguments_end_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert sample.main(arguments) == 2
    assert "Usage" in capsys.readouterr().err


def test_overwrite_spares_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"dataset\.json"):
        sample.make_sample(tmp_path, subjects=2, overwrite=True, progress=False)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scripts.phantom.hospital.write_dicom", full)
    with pytest.raises(OSError, match="No space"):
        sample.make_sample(tmp_path / "out", subjects=2, height=128, progress=False)
    assert list(tmp_path.iterdir()) == []
    assert sample.main([str(tmp_path / "out"), "--subjects", "2", "--height", "128"]) == 2


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """`ensure_sample` makes a small sample; the folders it was asked to make."""
    asked, whole = [], sample.make_sample

    def make(out: Path) -> Path:
        asked.append(out)
        return whole(out, subjects=2, height=128, progress=False)

    monkeypatch.setattr(sample, "make_sample", make)
    return asked


def test_ensure_sample_makes_it_once(tmp_path: Path, small: list[Path]) -> None:
    folder = tmp_path / "data" / "sample"
    assert sample.ensure_sample(str(folder)) == folder
    before = contents(folder)
    assert sample.ensure_sample(folder) == folder
    assert contents(folder) == before
    assert small == [folder]


def test_ensure_sample_by_two_at_once(tmp_path: Path, small: list[Path]) -> None:
    folder, done = tmp_path / "sample", []
    both = threading.Barrier(2)

    def start() -> None:
        both.wait()
        done.append(sample.ensure_sample(folder))

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [folder, folder]
    assert len(items(folder)) == 8
    assert list(tmp_path.iterdir()) == [folder]


def test_ensure_sample_refuses_a_folder_of_something_else(tmp_path: Path, small: list[Path]) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        sample.ensure_sample(tmp_path)
