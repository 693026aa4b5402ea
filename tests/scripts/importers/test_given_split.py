"""`--split FILE.csv` and `--test SHARE` of all importers, and subjects that are in no fold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from dataset_factory import make_dataset
from PIL import Image

from scripts.crossvalidation.folds import read_folds
from scripts.crossvalidation.run import _folds
from scripts.crossvalidation.views import fold_views
from scripts.importers.import_options import ImportOptions
from scripts.importers.sources.folder import import_folder
from scripts.importers.writing.given_split import read_split, split_word
from scripts.importers.writing.integrity import check_dataset
from scripts.importers.writing.split import held_out_groups, sections_of, validation_groups
from transforms.dataset import SECTIONS, Dataset
from transforms.errors import UserError

VALUES = {0: "background", 255: "tumor"}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two views of each of six women, with masks."""
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    rng = np.random.default_rng(0)
    for woman in range(6):
        for view in ("CC", "MLO"):
            name = f"W{woman}_L_{view}.png"
            Image.fromarray(rng.integers(0, 255, (12, 10), np.uint8)).save(images / name)
            Image.fromarray(np.eye(12, 10, dtype=np.uint8) * 255).save(labels / name)
    return images, labels


def run(folders: tuple[Path, Path], out: Path, **options: object) -> dict[str, list[str]]:
    """Sections of the dataset that is made: the women in them, by their numbers in the source."""
    made = ImportOptions(subject=r"(W\d)_", progress=False, **options)  # type: ignore[arg-type]
    import_folder(*folders, out, made, values=VALUES)
    content = json.loads((out / "dataset.json").read_text())
    return {name: sorted({item["subject"] for item in content[name]}) for name in SECTIONS}


def table(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_sections_of_subjects(folders: tuple[Path, Path], tmp_path: Path) -> None:
    rows = "subject,section\nW0,test\nW1,train\nW2,validation\nW3,training\nW4,val\nW5,test\nelse,test\n"
    found = run(folders, tmp_path / "out", split=table(tmp_path / "split.csv", rows))
    assert found == {"training": ["s002", "s004"], "validation": ["s003", "s005"], "test": ["s001", "s006"]}
    content = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert content["split"] == {"by": "file", "seed": 0, "validation_fraction": 1 / 3, "test_fraction": 1 / 3}
    assert (
        check_dataset(tmp_path / "out", progress=False).errors == []
    )  # pixel_fraction is that of these training images


def test_folds_are_kept_for_a_cross_validation(folders: tuple[Path, Path], tmp_path: Path) -> None:
    rows = "subject;fold\nW0;2\nW1;1\nW2;3\nW3;test\nW4;1\nW5;2\n"
    found = run(folders, tmp_path / "out", split=table(tmp_path / "split.csv", rows))
    assert found == {"training": ["s001", "s003", "s006"], "validation": ["s002", "s005"], "test": ["s004"]}
    folds = read_folds(tmp_path / "out" / "folds.csv", [*found["training"], *found["validation"], "s004"])
    assert folds == [["s002", "s005"], ["s001", "s006"], ["s003"]]


def test_sections_of_images(folders: tuple[Path, Path], tmp_path: Path) -> None:
    names = [f"W{woman}_L_{view}" for woman in range(6) for view in ("CC", "MLO")]
    rows = "image,section\n" + "".join(f"{name},{'test' if 'W5' in name else 'training'}\n" for name in names[1:])
    split = table(tmp_path / "split.csv", rows + "W0_L_CC.png,validation\n")
    with pytest.raises(
        UserError, match=r"the subject of .*W0_L_MLO.png is in validation and training; assign one section"
    ):
        run(folders, tmp_path / "out", split=split)
    found = run(folders, tmp_path / "by image", split=split, split_by="image")
    assert found == {"training": [f"s00{n}" for n in range(1, 6)], "validation": ["s001"], "test": ["s006"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subject,section\nW0,training\n", "no row for the subject of .*W1_L_CC.png"),
        ("woman,section\nW0,training\n", "has no such columns; expected a CSV file with the columns subject"),
        ("subject,section\nW0,training\nW0,test\n", "row 3: repeats a subject"),
        ("subject,section\nW0,train\n,test\n", "row 3: has no subject"),
        ("subject,section\nW0,holdout\n", "row 2: its section is 'holdout'; expected training, validation, test"),
        ("subject,fold\nW0,0\n", "row 2: its fold is '0'; expected a number of at least 1, or test"),
        ("subject,fold\nW0,1\nW1,3\n", "with contiguous numbers 1, 2, …"),
        ("subject,section\n" + "".join(f"W{n},training\n" for n in range(6)), "nothing is in validation"),
    ],
)
def test_what_is_refused(folders: tuple[Path, Path], tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(folders, tmp_path / "out", split=table(tmp_path / "split.csv", text))
    assert not (tmp_path / "out").exists()


def test_a_test_share_leaves_the_validation_as_it_is(folders: tuple[Path, Path], tmp_path: Path) -> None:
    without, kept = run(folders, tmp_path / "a"), run(folders, tmp_path / "b", test=0.34)
    assert kept["validation"] == without["validation"]
    assert len(kept["test"]) == 2
    assert sorted(kept["training"] + kept["test"]) == without["training"]
    content = json.loads((tmp_path / "b" / "dataset.json").read_text())
    assert content["split"]["test_fraction"] == 0.34
    with pytest.raises(UserError, match=r"--test is 0.8, --validation 0.3; expected shares whose sum is below 1"):
        ImportOptions(test=0.8)
    with pytest.raises(UserError, match="--test: --split already specifies the test section"):
        ImportOptions(test=0.2, split="a.csv")


def test_shares_by_lot() -> None:
    names = [f"w{n}" for n in range(10)]
    sections = sections_of(names, [None] * 10, 0.3, 0, 0.2)
    assert [sections.count(name) for name in SECTIONS] == [5, 3, 2]
    assert {n for n, s in zip(names, sections, strict=True) if s == "validation"} == validation_groups(names, 0.3, 0)
    with pytest.raises(UserError, match="leaves none of 10 subjects for training"):
        held_out_groups(names, 0.7, 0, names[:3])
    assert held_out_groups(names, 0.0, 0, []) == set()


def test_words_and_files() -> None:
    options = ImportOptions(split="drawn")
    assert split_word(options, ("drawn", "official")) == ("drawn", ImportOptions())
    assert split_word(ImportOptions(split="a.csv"), ("drawn",)) == (None, ImportOptions(split="a.csv"))
    with pytest.raises(UserError, match=r"--split is 'x'; expected drawn, official or FILE.csv"):
        split_word(ImportOptions(split="x"), ("drawn", "official"))
    with pytest.raises(UserError, match=r"--split none.csv: no such file"):
        read_split(Path("none.csv"))


def test_subjects_in_no_fold_are_in_the_test_section_of_every_fold(tmp_path: Path) -> None:
    data = Dataset.load(make_dataset(tmp_path / "tiny"))
    folds, digest = _folds(data, 2, None, 0, 0.34)
    assert [len(fold) for fold in folds] == [2, 2]
    assert digest is not None
    for fold, view in zip(folds, fold_views(data, folds, 0), strict=True):
        sections = {name: {item["subject"] for item in view[name]} for name in SECTIONS}
        assert sections["validation"] == set(fold)
        assert len(sections["training"]) == len(sections["test"]) == 2
        assert len(set.union(*sections.values())) == 6
    (tmp_path / "folds.csv").write_text(
        "subject,fold\n" + "".join(f"s00{n},{n % 2 + 1}\n" for n in range(5)) + "s005,test\n"
    )
    assert _folds(data, None, tmp_path / "folds.csv", 0)[0] == [["s000", "s002", "s004"], ["s001", "s003"]]
    with pytest.raises(UserError, match="omit --test"):
        _folds(data, None, tmp_path / "folds.csv", 0, 0.2)
