"""`scripts.prepare export-nnunet`: images, labels, description and folds as nnU-Net reads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from dataset_factory import make_dataset
from PIL import Image

from scripts.crossvalidation.folds import write_folds
from scripts.importers.writing.split import folds_of
from scripts.prepare import main


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_images_labels_and_description(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_dataset(tmp_path / "tiny", name="tiny set/1")
    content = json.loads((data / "dataset.json").read_text())
    content["test"] = [{**content["training"].pop(), "label": None}]
    content["ignore_label"] = 255
    content.pop("licence", None)
    content.pop("reference", None)
    (data / "dataset.json").write_text(json.dumps(content))
    label = np.load(data / "labels" / "s000_L_CC.npy")
    label[:3] = 255
    np.save(data / "labels" / "s000_L_CC.npy", label)
    assert main(["export-nnunet", str(data), str(tmp_path / "out"), "--number", "7", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    raw = tmp_path / "out" / "nnUNet_raw" / "Dataset007_tinyset1"
    assert said == {
        "raw": str(raw),
        "splits": str(tmp_path / "out" / "nnUNet_preprocessed" / raw.name / "splits_final.json"),
        "training": 5,
        "test": 1,
        "folds": 1,
    }
    assert np.array_equal(read(raw / "imagesTr" / "s000_L_CC_0000.png"), np.load(data / "images" / "s000_L_CC.npy"))
    found = read(raw / "labelsTr" / "s000_L_CC.png")
    assert found[:3].tolist() == [[3] * 32] * 3  # void: the number after the last class
    assert np.array_equal(found[3:], label[3:])
    assert [path.name for path in (raw / "imagesTs").iterdir()] == ["s003_L_CC_0000.png"]
    assert not (raw / "labelsTs").exists()
    description = json.loads((raw / "dataset.json").read_text())
    assert description["labels"] == {"background": 0, "gland": 1, "tumor": 2, "ignore": 3}
    assert (description["licence"], description["reference"]) == ("", "")
    assert description["channel_names"] == {"0": "mammogram"}
    assert (description["numTraining"], description["file_ending"]) == (5, ".png")
    (fold,) = json.loads(Path(said["splits"]).read_text())
    assert fold["val"] == ["s004_L_CC", "s005_L_CC"]
    assert fold["train"] == ["s000_L_CC", "s001_L_CC", "s002_L_CC"]


@pytest.mark.parametrize("name", ["background", "ignore"])
def test_names_that_nnunet_reserves_are_refused_before_the_work(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_dataset(tmp_path / "tiny")
    content = json.loads((data / "dataset.json").read_text())
    content["labels"] = {"0": "other", "1": name, "2": "tumor"}
    content["pixel_fraction"] = {"other": 0.5, name: 0.3, "tumor": 0.2}
    (data / "dataset.json").write_text(json.dumps(content))
    assert main(["export-nnunet", str(data), str(tmp_path / "out")]) == 2
    assert f"class {name} has a name that nnU-Net reserves" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_folds_are_those_of_the_cross_validation(tmp_path: Path) -> None:
    data, subjects = make_dataset(tmp_path / "tiny"), [f"s{number:03d}" for number in range(6)]
    folds = folds_of(subjects, 3, 4)
    write_folds(folds, tmp_path / "folds.csv")
    for number, words in enumerate(
        (["--folds", "3", "--fold_seed", "4"], ["--folds_file", str(tmp_path / "folds.csv")])
    ):
        out = tmp_path / f"out {number}"
        assert main(["export-nnunet", str(data), str(out), *words]) == 0
        (path,) = out.glob("nnUNet_preprocessed/*/splits_final.json")
        splits = json.loads(path.read_text())
        assert [[case[:4] for case in split["val"]] for split in splits] == folds
        assert all(sorted(split["train"] + split["val"]) == [f"{name}_L_CC" for name in subjects] for split in splits)


def test_what_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export-nnunet", str(make_dataset(tmp_path / "tiny")), str(tmp_path / "out")]
    assert main([*words, "--folds", "2", "--folds_file", "x.csv"]) == 2
    assert "specify only one of them" in capsys.readouterr().err
    assert main(words) == 0
    assert main(words) == 2
    assert "Dataset001_tiny: exists; remove it, or choose another OUT or --number" in capsys.readouterr().err
