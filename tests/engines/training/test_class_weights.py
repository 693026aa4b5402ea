"""`--class_weights`: the paper's, none, inverse or a list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engines.training.class_weights import class_weights, lesion_weights
from transforms.dataset import Dataset
from transforms.errors import UserError


@pytest.fixture
def data(tiny_dataset: Path) -> Dataset:
    path = tiny_dataset / "dataset.json"
    content = json.loads(path.read_text())
    content["pixel_fraction"] = {"background": 0.7, "gland": 0.3, "tumor": 0.0}
    path.write_text(json.dumps(content))
    return Dataset.load(tiny_dataset)


def test_by_hand(data: Dataset) -> None:
    assert class_weights(data) == pytest.approx([0.3, 0.7, 1.0])
    assert class_weights(data, "none") is None
    # 1/0.7 and 1/0.3 have a mean of 1/0.42; tumor does not occur
    assert class_weights(data, "inverse") == pytest.approx([0.6, 1.4, 0.0])
    assert class_weights(data, [1, 0.5, 0]) == [1.0, 0.5, 0.0]


def test_weights_of_lesions(data: Dataset) -> None:
    assert lesion_weights(data, 3) == [1.0, 1.0, 3.0]
    assert lesion_weights(data, 3, "gland") == [1.0, 3.0, 1.0]
    assert lesion_weights(data, 3, "none") == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("papre", "--class_weights papre: unknown value; choose from paper, none, inverse, or give a list"),
        ([1, 2], "expected 3 numbers of at least 0, not all 0, one per class: background, gland, tumor"),
        ([1, 2, -1], "expected 3 numbers"),
        ([1, 2, True], "expected 3 numbers"),
        ([1, 2, "3"], "expected 3 numbers"),
        ([1, 2, float("nan")], "expected 3 numbers"),
        ([0, 0, 0], "not all 0"),
        (0.5, "unknown value"),
    ],
)
def test_refused(data: Dataset, choice: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        class_weights(data, choice)
