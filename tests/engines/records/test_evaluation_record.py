"""Distinguishable evaluations: their folders and records, and given pixel spacings."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from engines.records.evaluation_record import evaluation_output, safe_name, training_record, write_evaluation
from engines.records.output_folder import Output
from engines.scoring.spacing import pixel_spacings
from transforms.dataset import Dataset
from transforms.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CSAW-S", "CSAW-S"),
        ("Brüste 2024: a/b\\c", "Brüste_2024_a_b_c"),
        ("../../etc", "etc"),
        ("???", "dataset"),
        ("", "dataset"),
        ("x" * 300, "x" * 80),
    ],
)
def test_names_of_folders(text: str, expected: str) -> None:
    assert safe_name(text) == expected


def record(dataset: str, digest: str) -> dict[str, Any]:
    return {"data": {"dataset": dataset, "dataset_digest": digest}}


def test_no_data_set_overwrites_another(tmp_path: Path) -> None:
    output = Output(tmp_path)
    first = evaluation_output(output, "mine", "test", "a" * 64)
    assert first.eval == tmp_path / "eval" / "mine-test"
    write_evaluation(first, record("mine", "a" * 64))
    assert evaluation_output(output, "mine", "test", "a" * 64).eval == first.eval
    assert evaluation_output(output, "mine", "validation", "a" * 64).eval != first.eval
    others = [("mine", "b" * 64, "mine-test-bbbbbbbbbbbb"), ("mine?", "a" * 64, "mine-test-aaaaaaaaaaaa")]
    for name, digest, folder in others:  # other data by the same name, and a name that becomes the same
        assert evaluation_output(output, name, "test", digest).eval == tmp_path / "eval" / folder
    (first.eval / "evaluation.json").write_text("{broken", encoding="utf-8")
    assert evaluation_output(output, "mine", "test", "b" * 64).eval == first.eval


def test_what_an_earlier_evaluation_left_is_removed(tmp_path: Path) -> None:
    output = evaluation_output(Output(tmp_path), "mine", "test", "a")
    output.eval.mkdir(parents=True)
    stale = [
        "lesions.csv",
        "froc.csv",
        "images.csv",
        "lesions-unet.json",
        "surface_distance.csv",
        "boundary.csv",
        "boundary_scores.csv",
        "boundary-unet.json",
        "confusion-unet.json",
    ]
    for name in [*stale, "notes.txt"]:
        (output.eval / name).touch()
    write_evaluation(output, record("mine", "a"))
    assert sorted(path.name for path in output.eval.iterdir()) == ["evaluation.json", "notes.txt"]


def test_the_training_is_named(tmp_path: Path) -> None:
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"weights")
    settings = {
        "recipe": "quick", "seed": 3, "width": 0.5, "stage": "unet", "epoch": 7, "run_id": "r1", "dataset": "sample",
        "dataset_digest": "d", "labels": {"0": "background"}, "init_weights": "/home/someone/vgg16.pth",
    }  # fmt: skip
    training = training_record(settings, weights)
    assert training["weights_sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert (training["run_id"], training["recipe"], training["seed"], training["epoch"]) == ("r1", "quick", 3, 7)
    assert training["options"]["width"] == 0.5
    assert "labels" not in training["options"]
    path = write_evaluation(Output(tmp_path, "x"), {"training": training})
    assert json.loads(path.read_text(encoding="utf-8"))["training"]["options"]["init_weights"] == "vgg16.pth"


def test_spacing_of_images_without_one(tiny_dataset: Path) -> None:
    path = tiny_dataset / "dataset.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["validation"][0]["spacing_mm"] = None
    path.write_text(json.dumps(content), encoding="utf-8")
    data = Dataset.load(tiny_dataset)
    expected = {None: None, 0.07: (0.07, 0.07), (0.1, 0.2): (0.1, 0.2)}
    for given, spacing in expected.items():
        assert list(pixel_spacings(data, "validation", given).values()) == [spacing, (0.1, 0.1)]


@pytest.mark.parametrize("given", [0, -1, "0.07 mm", [0.1], [0.1, 0.0], True, [0.1, "b"], 1e6])
def test_a_spacing_that_is_none(tiny_dataset: Path, given: Any) -> None:
    with pytest.raises(UserError, match=r"--spacing .*: expected the pixel size in mm, above 0 and below 100"):
        pixel_spacings(Dataset.load(tiny_dataset), "validation", given)


def test_an_ensemble_has_folders_of_its_own(tmp_path: Path) -> None:
    output = Output(tmp_path)
    for members, name in (
        ((), "mine-test"),
        (("1", "2"), "mine-test-ensemble"),
        (("1", "3"), "mine-test-ensemble-" + hashlib.sha256(b"13").hexdigest()[:12]),
        (("1", "2"), "mine-test-ensemble"),
    ):
        place = evaluation_output(output, "mine", "test", "a" * 64, members)
        assert place.eval == tmp_path / "eval" / name
        training = {"members": [{"weights_sha256": member} for member in members]} if members else {}
        write_evaluation(place, {"data": {"dataset": "mine", "dataset_digest": "a" * 64}, "training": training})
