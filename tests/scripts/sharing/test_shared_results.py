"""Lesions, evaluations and options in the README of a shared bundle."""

from __future__ import annotations

import json
from pathlib import Path

from scripts.sharing.results import options_as_run, results
from scripts.sharing.trained import Trained

SCORES = "model,pixel_accuracy,mean_iou,mean_class_accuracy,mean_dice,iou/fat,dice/fat,iou/tumor,dice/tumor\n"
LESIONS = "score,value,low,high\nlesion_sensitivity_at_1fp,0.25,0.0,0.5\nlesion_dice,0.5,0.4,nan\n"


def trained_in(folder: Path) -> Trained:
    settings = {
        "labels": {"0": "fat", "1": "tumor"},
        "dataset": "mine",
        "stage": "unet",
        "weights_sha256": "ab",
        "max_epochs": 3,
        "lesion_class": None,
        "fine_tuning": {"epochs": 2},
    }
    for name, sha256 in (("other-test", "ab"), ("older-test", "cd")):
        evaluation = folder / "eval" / name
        evaluation.mkdir(parents=True)
        record = {
            "training": {"weights_sha256": sha256, "stage": "unet"},
            "data": {"dataset": name.split("-")[0], "section": "test"},
        }
        (evaluation / "evaluation.json").write_text(json.dumps(record))
        (evaluation / "scores.csv").write_text(SCORES + "all background,0.1,,,,,,,\nunet,0.9,0.8,0.7,0.6,0.5,0.4,,\n")
    (folder / "eval" / "lesion_scores.csv").write_text(LESIONS)
    return Trained(folder, folder / "models" / "model.pt", settings, {})


def test_results_of_these_weights_alone(tmp_path: Path) -> None:
    text = results(trained_in(tmp_path))
    assert "### Lesions, validation part of mine" in text
    assert "| lesions found at 1 false positives per image | 25.0 | 0.0 to 50.0 |" in text
    assert "| Dice of all lesion pixels | 50.0 | 40.0 to – |" in text
    assert "### Results on the test part of other" in text
    assert "| 90.0 | 80.0 | 70.0 | 60.0 |" in text
    assert "| fat | 50.0 | 40.0 |\n| tumor | – | – |" in text
    assert "older" not in text


def test_options_that_have_a_value(tmp_path: Path) -> None:
    text = options_as_run(trained_in(tmp_path))
    assert "| `max_epochs` | `3` |" in text
    assert '| `fine_tuning` | `{"epochs": 2}` |' in text
    assert "lesion_class" not in text
    assert "weights_sha256" not in text
