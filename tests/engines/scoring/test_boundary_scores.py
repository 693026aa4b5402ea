"""Boundary scores of images: units, means, files, pooling."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dataset_factory import make_dataset

from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output
from engines.records.tables import read_csv
from engines.scoring.boundary_scores import (
    BoundaryResult,
    BoundaryScores,
    ImageBoundaries,
    pooled_boundaries,
    read_boundary_result,
)
from transforms.dataset import Dataset
from transforms.errors import UserError

NAN = math.nan


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return Dataset.load(make_dataset(tmp_path / "tiny"))


def run(scores: BoundaryScores, data: Dataset, shift: int) -> None:
    """As an evaluator does, with predictions that are the labels, moved to the right."""
    scores._start()
    for item in data.items("validation"):
        label = torch.from_numpy(np.load(item["label"]))[None]
        state = SimpleNamespace(batch=[item], output=[{"label": label, "pred": label.roll(shift, dims=2)}])
        scores._measure(SimpleNamespace(state=state))  # type: ignore[arg-type]
    scores._gather()


def test_right_label_maps_are_perfect_and_moved_ones_are_not(data: Dataset) -> None:
    scores = BoundaryScores(data, "validation", tolerance=0.15)  # of pixels of 0.1 mm
    run(scores, data, 0)
    assert scores.scores()["nsd/tumor"] == scores.scores()["mean_boundary_iou"] == 1
    assert scores.scores()["hd95_mm/tumor"] == 0
    run(scores, data, 3)
    assert scores.scores()["hd95_mm/tumor"] == pytest.approx(0.3)
    assert 0 < scores.scores()["nsd/tumor"] < 1
    assert scores.result.sentences()[0].endswith("boundary IoU at 0.15 mm:")


def test_intervals_are_a_table(data: Dataset, tmp_path: Path) -> None:
    scores = BoundaryScores(data, "validation")
    run(scores, data, 0)
    scores.write(Output(tmp_path), Tracking("e", "r", str(tmp_path / "m.db"), enabled=False), "unet")
    rows = {row["score"]: row for row in read_csv(tmp_path / "eval" / "boundary_scores.csv")}
    assert set(rows) == set(scores.scores())
    assert rows["mean_nsd"] == {"score": "mean_nsd", "value": "1.0", "low": str(0.025**0.5), "high": "1.0"}
    assert rows["hd95_mm/tumor"]["high"] == "0.0"
    assert "  tumor  100.0 [15.8, 100.0]~, 0.0 [0.0, 0.0]~, " in "\n".join(scores.result.sentences())  # two subjects


def test_without_spacing_the_unit_is_a_share_of_the_height(data: Dataset) -> None:
    data.content["validation"][0]["spacing_mm"] = None
    with pytest.raises(
        UserError, match="--tolerance 3: in mm, and not all images have a pixel spacing; give --spacing"
    ):
        BoundaryScores(data, "validation", tolerance=3)
    scores = BoundaryScores(data, "validation")
    assert (scores.unit, scores.tolerance) == ("percent", 0.5)
    run(scores, data, 2)
    assert scores.scores()["hd95_percent/tumor"] == pytest.approx(100 * 2 / 40)
    assert BoundaryScores(data, "validation", spacing=0.2).unit == "mm"


@pytest.mark.parametrize("tolerance", [0, -1, "wide", True, math.inf])
def test_a_tolerance_is_a_distance(tolerance: object, data: Dataset) -> None:
    for spacing in ([0.1, 0.1], None):
        data.content["validation"][0]["spacing_mm"] = spacing
        with pytest.raises(UserError, match=r"expected a distance in mm above 0, such as 1"):
            BoundaryScores(data, "validation", tolerance=tolerance)


def test_means_are_over_the_images_that_have_a_value() -> None:
    images = (
        ImageBoundaries("s1", "a", {"gland": (1.0, 2.0, 0.5), "tumor": (NAN, NAN, NAN)}),
        ImageBoundaries("s1", "b", {"gland": (0.5, 4.0, 0.1), "tumor": (0.0, NAN, 0.0)}),
        ImageBoundaries("s2", "c", {"gland": (0.0, NAN, 0.0), "tumor": (0.8, 1.0, 0.6)}),
    )
    measures = BoundaryResult(("gland", "tumor"), "mm", 1.0, images).measures()
    assert measures["nsd/gland"].value == pytest.approx(0.5)
    assert measures["nsd/tumor"].value == pytest.approx(0.4)
    assert measures["hd95_mm/gland"].value == pytest.approx(3)
    assert measures["hd95_mm/tumor"].denominator.tolist() == [0, 1]
    assert measures["mean_nsd"].value == pytest.approx((1 + 0.25 + 0.4) / 3)
    assert measures["hd95_mm/gland"].largest == math.inf


def test_files_say_all_and_folds_are_pooled(data: Dataset, tmp_path: Path) -> None:
    scores = BoundaryScores(data, "validation")
    run(scores, data, 1)
    path = scores.write_confusion_files(Output(tmp_path / "out"), "unet")
    again = read_boundary_result(json.loads(path.read_text()))
    assert again == scores.result
    assert again.measures()["nsd/tumor"].interval(200) == scores.result.measures()["nsd/tumor"].interval(200)
    other = BoundaryResult(
        again.classes, "mm", 1.0, (ImageBoundaries("s0", "x", dict.fromkeys(again.classes, (1, 0, 1))),)
    )
    pooled = pooled_boundaries([again, other])
    assert pooled is not None
    assert [image.case for image in pooled.images] == ["x", "s004_L_CC", "s005_L_CC"]
    assert pooled_boundaries([again, BoundaryResult(again.classes, "mm", 2.0, ())]) is None
