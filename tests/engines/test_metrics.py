"""`engines.metrics` against hand counts and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, recall_score

from engines.metrics import confusion_matrix, scores, trivial_scores

# rows = truth:      a  b  c
HAND = np.array([[5, 1, 0], [2, 3, 0], [0, 0, 0]])


def test_hand_computed() -> None:
    s = scores(HAND, ["a", "b", "c"])
    assert s["pixel_accuracy"] == pytest.approx(8 / 11)
    assert s["iou/a"] == pytest.approx(5 / 8)
    assert s["iou/b"] == pytest.approx(3 / 6)
    assert s["mean_iou"] == pytest.approx((5 / 8 + 3 / 6) / 2)
    assert s["mean_class_accuracy"] == pytest.approx((5 / 6 + 3 / 5) / 2)
    assert s["dice/a"] == pytest.approx(10 / 13)
    assert s["dice/b"] == pytest.approx(6 / 9)
    assert s["mean_dice"] == pytest.approx((10 / 13 + 6 / 9) / 2)


def test_absent_class_is_left_out() -> None:
    s = scores(HAND, ["a", "b", "c"])
    assert math.isnan(s["iou/c"])
    assert math.isnan(s["dice/c"])


def test_class_predicted_but_not_there_scores_zero_and_counts() -> None:
    s = scores([[4, 0, 1], [0, 5, 0], [0, 0, 0]])
    assert s["iou/2"] == 0.0
    assert s["mean_iou"] == pytest.approx((4 / 5 + 1 + 0) / 3)
    assert s["mean_class_accuracy"] == pytest.approx((4 / 5 + 1) / 2)


def test_nothing_counted_is_nan() -> None:
    assert all(math.isnan(v) for v in scores(np.zeros((2, 2))).values())


@pytest.mark.parametrize("bad", [np.zeros((2, 3)), np.zeros(4)])
def test_not_square(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="square"):
        scores(bad)


def test_names_must_fit() -> None:
    with pytest.raises(ValueError, match="2 class names for 3 classes"):
        scores(HAND, ["a", "b"])


def test_void_is_not_counted_and_its_prediction_does_not_matter() -> None:
    truth = torch.tensor([[0, 1, 255], [1, 255, 0]], dtype=torch.uint8)
    first = torch.tensor([[0, 1, 0], [0, 1, 0]], dtype=torch.uint8)
    second = torch.tensor([[0, 1, 1], [0, 77, 0]], dtype=torch.uint8)
    expected = [[2, 0], [1, 1]]
    assert confusion_matrix(truth, first, 2).tolist() == expected
    assert confusion_matrix(truth, second, 2).tolist() == expected


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        confusion_matrix(torch.zeros(2, 2), torch.zeros(2, 3), 2)


def test_prediction_must_be_a_class() -> None:
    with pytest.raises(ValueError, match="expected 0…1"):
        confusion_matrix(torch.zeros(3), torch.tensor([0, 1, 2]), 2)


@settings(max_examples=60, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60),
)
def test_equals_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, pred = (np.array(v) for v in zip(*pairs, strict=True))
    s = scores(confusion_matrix(torch.from_numpy(truth), torch.from_numpy(pred), 4))
    present = sorted(set(truth) | set(pred))
    assert s["pixel_accuracy"] == pytest.approx(accuracy_score(truth, pred), abs=1e-12)
    iou = jaccard_score(truth, pred, labels=present, average=None, zero_division=0)
    dice = f1_score(truth, pred, labels=present, average=None, zero_division=0)
    assert [s[f"iou/{c}"] for c in present] == pytest.approx(list(iou), abs=1e-12)
    assert [s[f"dice/{c}"] for c in present] == pytest.approx(list(dice), abs=1e-12)
    assert s["mean_iou"] == pytest.approx(iou.mean(), abs=1e-12)
    recall = recall_score(truth, pred, labels=sorted(set(truth)), average="macro", zero_division=0)
    assert s["mean_class_accuracy"] == pytest.approx(recall, abs=1e-12)


def test_trivial_predictor() -> None:
    s = trivial_scores({"s1": HAND, "s2": HAND}, ["a", "b", "c"])
    assert s["pixel_accuracy"] == pytest.approx(12 / 22)
    assert s["mean_iou"] == pytest.approx((12 / 22 + 0) / 2)
