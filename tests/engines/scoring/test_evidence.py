"""Files of every result for verification and comparison."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from engines.records.output_folder import Output, portable
from engines.records.predictions import SamplePredictions, mean_dice, write_label_maps
from engines.scoring.confusion_files import write_confusion_files
from engines.scoring.figures import class_figure, confusion_figure
from engines.scoring.metrics import scores

ABOUT = {
    "labels": {"1": "gland", "0": "background"},
    "dataset": "tiny",
    "dataset_digest": "d",
    "split_digest": "s",
    "recipe": "quick",
}


def test_matrices_are_written_by_subject_with_what_they_were_counted_on(tmp_path: Path) -> None:
    matrices = {"s2": np.array([[1, 2], [3, 4]]), "s1": [[5, 0], [0, 6]]}
    files = write_confusion_files(Output(tmp_path), "front", matrices, ABOUT, "validation")
    assert [p.name for p in files] == ["confusion-front.json", "confusion-front.png", "classes-front.png"]
    assert json.loads(files[0].read_text(encoding="utf-8")) == {
        "format": 1,
        "row": "front",
        "section": "validation",
        "classes": ["background", "gland"],
        "dataset": "tiny",
        "dataset_digest": "d",
        "split_digest": "s",
        "subjects": {"s1": [[5, 0], [0, 6]], "s2": [[1, 2], [3, 4]]},
    }
    assert all(np.asarray(Image.open(p)).shape[1] > 200 for p in files[1:])


def test_the_same_result_leaves_the_same_bytes(tmp_path: Path) -> None:
    made = [
        write_confusion_files(Output(tmp_path / n), "a", {"s": [[1, 0], [0, 1]]}, ABOUT, "test") for n in ("x", "y")
    ]
    assert [p.read_bytes() for p in made[0]] == [p.read_bytes() for p in made[1]]


def test_the_matrix_is_shown_as_shares_of_the_true_class() -> None:
    axes = confusion_figure([[3, 1, 0], [0, 8, 0], [0, 0, 0]], ["a", "b", "c"], "t").axes[0]
    assert [text.get_text() for text in axes.texts] == ["75", "25", "0", "0", "100", "0"]  # none for the absent class
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("truth", "prediction")
    assert axes.images[0].get_clim() == (0, 100)


def test_bars_start_at_nothing_and_say_where_there_is_no_score() -> None:
    axes = class_figure(scores([[3, 1, 0], [0, 8, 0], [0, 0, 0]], ["a", "b", "c"]), ["a", "b", "c"], "t").axes[0]
    assert axes.get_xlim()[0] == 0
    assert [text.get_text().strip() for text in axes.texts] == ["75.0", "88.9", "n/a", "85.7", "94.1", "n/a"]


def test_plain_values_without_paths_and_addresses() -> None:
    given = {
        "init_weights": "/home/someone/vgg16.pth",
        "windows": r"C:\Users\someone\vgg16.pth",
        "stages": ("front",),
        "odd": object(),
        "nothing": None,
        "rate": math.inf,
        "nested": {"width": 0.5},
    }
    assert portable(given) == {
        "init_weights": "vgg16.pth",
        "windows": "vgg16.pth",
        "stages": ["front"],
        "odd": "object",
        "nothing": None,
        "rate": "inf",
        "nested": {"width": 0.5},
    }


def evaluated(subject: str, case: str) -> SimpleNamespace:
    label = torch.tensor([[[0, 1, 2, 255]] * 8], dtype=torch.uint8)
    output = {"image": torch.zeros(3, 4, 2), "label": label, "pred": label.clamp(max=2)}
    return SimpleNamespace(state=SimpleNamespace(batch=[{"subject": subject, "case": case}], output=[output]))


def test_one_image_of_each_of_the_first_subjects_is_kept(tmp_path: Path) -> None:
    samples = SamplePredictions(num_classes=3, subjects=2, height=4, worst=0)
    for subject, case in (("s1", "s1_L"), ("s1", "s1_R"), ("s2", "s2_L"), ("s3", "s3_L")):
        samples._collect(evaluated(subject, case))
    assert list(samples.predictions) == ["s1_L", "s2_L"]
    assert samples.images["s1_L"].shape == (4, 2, 3)
    (tmp_path / "old.png").touch()
    write_label_maps(tmp_path, samples.truth)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s1_L.png", "s2_L.png"]
    stored = Image.open(tmp_path / "s1_L.png")
    assert stored.mode == "P"
    assert np.array_equal(np.asarray(stored), samples.truth["s1_L"])
    assert all(isinstance(t, torch.Tensor) for t in samples.tensors().values())
    samples._start()
    assert samples.predictions == {}


def test_the_worst_images_are_kept_beside_them() -> None:
    samples = SamplePredictions(num_classes=3, subjects=1, height=4, worst=2)
    for number, right in enumerate((4, 3, 0, 4, 1)):  # of 4 rows of each class
        engine = evaluated(f"s{number}", f"s{number}_L")
        engine.state.output[0]["pred"][:, 2 * right :] = 0
        samples._collect(engine)
    assert list(samples.predictions) == list(samples.images) == list(samples.truth) == ["s0_L", "s2_L", "s4_L"]


def test_mean_dice_of_one_image() -> None:
    truth = torch.tensor([[[0, 1, 1, 2, 255]]])
    assert mean_dice(truth, torch.tensor([[[0, 1, 0, 0, 2]]]), 3) == pytest.approx((2 / 3 + 0) / 2)
    assert mean_dice(truth * 0, torch.tensor([[[0, 0, 0, 0, 0]]]), 3) == 1
    assert mean_dice(truth * 0, torch.tensor([[[0, 0, 0, 0, 1]]]), 3) == 0


@pytest.mark.parametrize("kept", ["epochs.csv", "mine.json"])
def test_a_new_training_drops_the_results_of_the_one_before(tmp_path: Path, kept: str) -> None:
    output = Output(tmp_path)
    write_confusion_files(output, "old", {"s": [[1, 0], [0, 1]]}, ABOUT, "validation")
    write_label_maps(output.predictions / "old", {"c": np.zeros((2, 2), np.uint8)})
    (output.eval / kept).touch()
    output.clear_results()
    assert [p.name for p in output.eval.rglob("*") if p.is_file()] == [kept]
