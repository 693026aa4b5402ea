"""Lesions of an evaluation compared with results by hand, their classes, and their files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents

from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output
from engines.records.tables import read_csv
from engines.scoring.lesion_classes import lesion_classes
from engines.scoring.lesion_files import read_lesion_result
from engines.scoring.lesions import LesionDetection
from engines.scoring.matching import Rule
from transforms.decision import Decision
from transforms.errors import UserError
from transforms.working_resolution import upsampled_argmax

ABOUT = {"dataset": "d", "dataset_digest": "0", "section": "validation"}


@pytest.mark.parametrize(
    ("names", "wanted", "expected"),
    [
        (["non-tumor", "tumor"], None, [1]),
        (["tumor", "non-tumor"], None, [0]),
        (["background", "gland", "Tumor"], None, [2]),
        (["background", "breast mass", "gland", "cancer"], None, [1, 3]),
        (["background", "no mass", "calcification"], None, []),
        (["background", "gland"], None, []),
        (["background", "gland", "tumor"], "gland", [1]),
        (["background", "gland", "tumor"], "tumor, gland", [1, 2]),
        (["background", "gland", "tumor"], ["tumor"], [2]),
        (["background", "mass, benign", "tumor"], "mass, benign", [1]),
        (["background", "gland", "tumor"], "none", []),
    ],
)
def test_classes_of_the_lesions(names: list[str], wanted: str | list[str] | None, expected: list[int]) -> None:
    assert lesion_classes(names, wanted) == expected


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(UserError, match="--lesion_class tumour: unknown class; choose from background, tumor, none"):
        lesion_classes(["background", "tumor"], "tumour")


def test_a_class_that_a_command_line_reads_as_a_number() -> None:
    assert lesion_classes(["0", "1"], 1) == [1]  # type: ignore[arg-type]
    with pytest.raises(UserError, match="--lesion_class 1: unknown class; choose from background, tumor"):
        lesion_classes(["background", "tumor"], 1)  # type: ignore[arg-type]


def detection(names: list[str], **options: Any) -> LesionDetection:
    return LesionDetection(lesion_classes(names), names, ABOUT, **options)


def feed(handler: LesionDetection, logits: torch.Tensor, label: torch.Tensor, case: str = "s1_L") -> None:
    """Process one image like MONAI's evaluator."""
    engine = SimpleNamespace(state=SimpleNamespace(batch=None, output={"pred": logits}))
    handler._keep_logits(engine)
    item = {"subject": case.split("_")[0], "case": case}
    pred = upsampled_argmax(logits[0], tuple(label.shape[-2:]))
    engine.state = SimpleNamespace(batch=[item], output=[{"label": label, "pred": pred}])
    handler._judge(engine)


def logits_of(probability: torch.Tensor) -> torch.Tensor:
    return torch.stack([(1 - probability).log(), probability.log()])[None]


def outcomes(handler: LesionDetection) -> list[tuple[float, str]]:
    return [(round(c.score, 4), c.outcome) for image in handler.images for c in image.candidates]


def test_found_below_the_mask_and_void_is_left_out() -> None:
    label = torch.zeros(1, 40, 40, dtype=torch.uint8)
    label[0, 5:15, 5:15] = 1
    label[0, 30:, 30:] = 255
    probability = torch.full((40, 40), 0.001)
    probability[5:15, 5:15] = 0.3  # no pixel of the mask, but a candidate
    probability[25:28, 5:8] = 0.15
    probability[32:38, 32:38] = 0.99  # void: neither right nor wrong
    handler = detection(["background", "tumor"])
    feed(handler, logits_of(probability), label)
    assert outcomes(handler) == [(0.99, "neither"), (0.3, "hit"), (0.15, "false")]
    scores = handler.scores()
    assert (scores["lesion_sensitivity"], scores["lesion_false_positives_per_image"]) == (0, 0)
    assert scores["lesion_sensitivity_at_0.25fp"] == scores["subject_sensitivity_at_2fp"] == 1
    assert scores["mean_image_dice/tumor"] == scores["mean_lesion_dice"] == 0  # argmax has nothing but void pixels


def test_several_classes_are_counted_as_one_and_healthy_tissue_is_not() -> None:
    """A mass next to a distortion is one lesion; a network that calls all of it distortion has found it."""
    label = torch.zeros(1, 40, 40, dtype=torch.uint8)
    label[0, 5:15, 5:10], label[0, 5:15, 10:15] = 1, 2
    probabilities = torch.full((3, 40, 40), 0.001)
    probabilities[1:, 5:15, 5:15] = torch.tensor([0.3, 0.4])[:, None, None]
    probabilities[0] = 1 - probabilities[1:].sum(0)
    handler = detection(["no mass", "mass", "distortion"])
    feed(handler, probabilities.log()[None], label)
    assert handler.result.classes == ("mass", "distortion")
    assert outcomes(handler) == [(0.7, "hit")]
    assert handler.images[0].dice == 1
    assert handler.scores()["mean_image_dice/mass+distortion"] == 1


def test_probabilities_are_those_of_the_mask() -> None:
    """With two classes the mask is where the probability is above a half, at the label's resolution too."""
    torch.manual_seed(0)
    logits = 3 * torch.randn(1, 2, 11, 7)
    label = torch.zeros(1, 90, 55, dtype=torch.uint8)
    label[0, 10:20, 10:20] = 1
    handler = detection(["background", "tumor"])
    feed(handler, logits, label)
    large = torch.nn.functional.interpolate(logits, size=(90, 55), mode="bilinear")[0]
    highest = torch.softmax(large, 0)[1].max()
    assert handler.images[0].candidates[0].score == pytest.approx(float(highest), abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_score": 1.5}, "--min_lesion_score 1.5: expected a probability between 0 and 1"),
        ({"min_score": "high"}, "--min_lesion_score high: expected a probability"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        detection(["background", "tumor"], **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hit": "dice"}, "--hit dice: unknown rule; choose from iou, center, overlap"),
        ({"min_lesion_size": -1}, "--min_lesion_size -1: expected a whole number of pixels of at least 0"),
        ({"min_lesion_size": 2.5}, "--min_lesion_size 2.5: expected a whole number"),
    ],
)
def test_wrong_rules(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Rule(**options)


def test_files_and_reading_them_again(tmp_path: Path) -> None:
    label = torch.zeros(1, 40, 40, dtype=torch.uint8)
    label[0, 5:15, 5:15] = 1
    label[0, 30, 30] = 1  # a speck, void
    probability = torch.full((40, 40), 0.001)
    probability[5:15, 5:10] = 0.8
    probability[25:28, 5:8] = 0.6
    handler = detection(["background", "tumor"], rule=Rule(min_lesion_size=5), spacing={"s1_L": [2.0, 0.5]})
    feed(handler, logits_of(probability), label)
    feed(handler, logits_of(torch.full((40, 40), 0.001)), torch.zeros(1, 40, 40, dtype=torch.uint8), "s2_R")
    output = Output(tmp_path)
    said = handler.write(output, Tracking("e", "r", str(tmp_path / "m.db"), enabled=False), "unet")
    assert "1 lesions of fewer than 5 pixels are void." in said
    assert "Lesions (tumor): 1 in 1 of 2 images, 1 of 2 subjects; a hit is: IoU of at least 0.1." in said
    images = read_csv(tmp_path / "eval" / "images.csv")
    assert [(r["case"], r["lesions"], r["found"], r["missed"], r["false"], r["void"]) for r in images] == [
        ("s1_L", "1", "1", "0", "1", "1"),
        ("s2_R", "0", "0", "0", "0", "0"),
    ]
    assert float(images[0]["dice"]) == pytest.approx(2 * 50 / (101 + 59))
    assert images[1]["dice"] == ""
    found, speck = read_csv(tmp_path / "eval" / "lesions.csv")
    assert (found["pixels"], found["box"], found["void"], speck["void"]) == ("100", "5 5 15 15", "False", "True")
    assert float(found["diameter_mm"]) == pytest.approx(2 * math.sqrt(100 / math.pi))
    assert float(found["dice"]) == pytest.approx(2 * 50 / 150)
    candidates = read_csv(tmp_path / "eval" / "candidates.csv")
    assert [(c["hit"], c["area"], c["box"], c["lesion"]) for c in candidates] == [
        ("hit", "50", "5 5 15 10", "1"),
        ("false", "9", "25 5 28 8", ""),
    ]
    curve = read_csv(tmp_path / "eval" / "froc.csv")
    assert [(p["lesions_found"], p["false_positives_per_image"]) for p in curve] == [("1", "0.0"), ("1", "0.5")]
    assert [p["false_positives_per_normal_image"] for p in curve] == ["0.0", "0.0"]
    scores = {r["score"]: r["value"] for r in read_csv(tmp_path / "eval" / "lesion_scores.csv")}
    assert scores["lesion_sensitivity_at_1fp/10_to_20_mm"] == "1.0"
    text = (tmp_path / "eval" / "lesions-unet.json").read_text(encoding="utf-8")
    assert read_lesion_result(json.loads(text)) == handler.result


def test_a_given_minimum_score_is_the_stated_one() -> None:
    point = {"threshold": 0.3, "min_lesion_score": 0.4, "rule": "dice", "chosen_on": "other women"}
    label = torch.zeros(1, 8, 8, dtype=torch.uint8)
    label[0, 2:6, 2:6] = 1
    for given, kept in ((None, "0.4"), (0.7, "0.7")):
        handler = detection(["background", "tumor"], min_score=given)
        handler.set_point(Decision((1,), 0.3), point)
        feed(handler, logits_of(label[0] * 0.59 + 0.01), label)
        text = "\n".join(handler.result.sentences())
        assert f"candidates of score {kept} or more: sensitivity {'0' if given else '100'}.0 %" in text
        assert f"candidates are kept from a score of {kept} on: rule dice, chosen on other women." in text


def test_several_runs_of_an_evaluator_do_not_add_up() -> None:
    label = torch.zeros(1, 8, 8, dtype=torch.uint8)
    engine = Engine(lambda engine, batch: None)
    engine.register_events(*IterationEvents)
    handler = detection(["background", "tumor"])
    feed(handler, logits_of(torch.full((8, 8), 0.3)), label)
    handler._start()
    feed(handler, logits_of(torch.full((8, 8), 0.3)), label)
    assert len(handler.images) == 1
    for handle in handler.attach(engine):
        handle.remove()
    assert not any(engine._event_handlers.values())
    assert np.isnan(handler.scores()["lesion_sensitivity"])
