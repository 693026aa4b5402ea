"""`engines.scoring.metrics` against hand counts and scikit-learn."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, precision_score, recall_score
from sklearn.metrics import confusion_matrix as sklearn_matrix

from engines.scoring.metrics import (
    STRIP,
    class_scores,
    confusion_matrix,
    metric_names,
    overall_scores,
    scores,
    trivial_scores,
)
from engines.scoring.subject_confusion import SubjectConfusion

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
    assert s["sensitivity/a"] == pytest.approx(5 / 6)
    assert s["sensitivity/b"] == pytest.approx(3 / 5)
    assert s["specificity/a"] == pytest.approx(3 / 5)
    assert s["specificity/b"] == pytest.approx(5 / 6)
    assert s["specificity/c"] == 1.0
    assert s["precision/a"] == pytest.approx(5 / 7)
    assert s["precision/b"] == pytest.approx(3 / 4)
    assert math.isnan(s["precision/c"])
    assert s["frequency_weighted_iou"] == pytest.approx(6 / 11 * 5 / 8 + 5 / 11 * 3 / 6)
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


@st.composite
def label_maps(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Truth with void (255) and prediction of one shape; many classes occur in one of them or in neither."""
    classes = draw(st.sampled_from([2, 3, 13, 15, 16, 40]))
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    occurring = st.lists(st.integers(0, classes - 1), min_size=1, max_size=4)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    truth = rng.choice([*draw(occurring), 255], shape).astype(np.uint8)
    pred = rng.choice(draw(occurring), shape).astype(np.uint8)
    copied = (rng.random(shape) < draw(st.floats(0, 1))) & (truth != 255)
    pred[copied] = truth[copied]
    return truth, pred, classes


@settings(max_examples=80, deadline=None)
@given(maps=label_maps(), dtype=st.sampled_from([torch.uint8, torch.int64, torch.int16, torch.float32]))
def test_equals_scikit_learn(maps: tuple[np.ndarray, np.ndarray, int], dtype: torch.dtype) -> None:
    truth, pred, classes = maps
    counted = truth != 255
    if not counted.any():
        return
    matrix = confusion_matrix(torch.from_numpy(truth).to(dtype), torch.from_numpy(pred).to(dtype), classes)
    s = scores(matrix)
    truth, pred = truth[counted], pred[counted]
    assert np.array_equal(matrix, sklearn_matrix(truth, pred, labels=range(classes)))
    present = sorted({*truth.tolist(), *pred.tolist()})
    absent = [c for c in range(classes) if c not in present]
    assert all(math.isnan(s[f"{kind}/{c}"]) for kind in ("iou", "dice", "sensitivity") for c in absent)
    assert s["pixel_accuracy"] == pytest.approx(accuracy_score(truth, pred), abs=1e-12)
    iou = jaccard_score(truth, pred, labels=present, average=None, zero_division=0)
    dice = f1_score(truth, pred, labels=present, average=None, zero_division=0)
    assert [s[f"iou/{c}"] for c in present] == pytest.approx(list(iou), abs=1e-12)
    assert [s[f"dice/{c}"] for c in present] == pytest.approx(list(dice), abs=1e-12)
    assert s["mean_iou"] == pytest.approx(iou.mean(), abs=1e-12)
    assert s["mean_dice"] == pytest.approx(dice.mean(), abs=1e-12)
    in_truth = sorted(set(truth.tolist()))
    recall = recall_score(truth, pred, labels=in_truth, average=None, zero_division=0)
    assert [s[f"sensitivity/{c}"] for c in in_truth] == pytest.approx(list(recall), abs=1e-12)
    assert s["mean_class_accuracy"] == pytest.approx(recall.mean(), abs=1e-12)
    predicted = sorted(set(pred.tolist()))
    precision = precision_score(truth, pred, labels=predicted, average=None, zero_division=0)
    assert [s[f"precision/{c}"] for c in predicted] == pytest.approx(list(precision), abs=1e-12)
    for c in present:
        others = truth != c  # the specificity of a class is the sensitivity of "not this class"
        expected = recall_score(others, pred != c, zero_division=0) if others.any() else math.nan
        assert s[f"specificity/{c}"] == pytest.approx(expected, abs=1e-12, nan_ok=True)
    share = np.array([(truth == c).mean() for c in present])
    assert s["frequency_weighted_iou"] == pytest.approx((share * iou).sum(), abs=1e-12)


def cityscapes_class_iou(truth: np.ndarray, pred: np.ndarray, label: int, ignored: set[int]) -> float:
    """The official evaluator's IoU of one label, pixel by pixel from its definition."""
    pairs = list(zip(truth.ravel().tolist(), pred.ravel().tolist(), strict=True))
    tp = sum(t == label and p == label for t, p in pairs)
    fn = sum(t == label and p != label for t, p in pairs)
    fp = sum(t not in ignored and t != label and p == label for t, p in pairs)
    return tp / (tp + fp + fn) if tp + fp + fn else math.nan


@settings(max_examples=80, deadline=None)
@given(maps=label_maps())
def test_equals_the_cityscapes_evaluator(maps: tuple[np.ndarray, np.ndarray, int]) -> None:
    truth, pred, classes = maps
    s = scores(confusion_matrix(torch.from_numpy(truth), torch.from_numpy(pred), classes))
    expected = [cityscapes_class_iou(truth, pred, c, {255}) for c in range(classes)]
    assert [s[f"iou/{c}"] for c in range(classes)] == pytest.approx(expected, abs=1e-12, nan_ok=True)
    numbers = [v for v in expected if not math.isnan(v)]
    average = sum(numbers) / len(numbers) if numbers else math.nan
    assert s["mean_iou"] == pytest.approx(average, abs=1e-12, nan_ok=True)


def test_strips_of_a_large_map_add_up() -> None:
    rng = np.random.default_rng(0)
    truth, pred = (torch.from_numpy(rng.integers(0, 13, (3, 1100, 700), dtype=np.uint8)) for _ in range(2))
    parts = [confusion_matrix(t, p, 13) for t, p in zip(truth, pred, strict=True)]
    whole = confusion_matrix(truth, pred, 13)
    assert np.array_equal(sum(parts), whole)
    assert whole.sum() == truth.numel() > STRIP


def test_memory_does_not_grow_with_the_image() -> None:
    """One-hot maps of this size would take 144 MB in bytes, and gigabytes as MONAI makes them."""
    truth, pred = (torch.zeros(4000, 3000, dtype=torch.uint8) for _ in range(2))
    tracemalloc.start()
    confusion_matrix(truth, pred, 12)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images() -> None:
    rng = np.random.default_rng(0)
    truth, pred = (torch.from_numpy(rng.integers(0, 12, (4000, 3000), dtype=np.uint8)) for _ in range(2))
    metric = SubjectConfusion([str(number) for number in range(12)])
    tracemalloc.start()
    for number in range(50):
        metric.update([(f"s{number}", truth, pred)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(int(matrix.sum()) for matrix in metric.per_subject.values()) == 50 * 12_000_000
    assert peak < 5e6


def test_the_maps_are_not_changed() -> None:
    truth, pred = torch.tensor([0, 1, 255], dtype=torch.uint8), torch.tensor([1, 1, 9], dtype=torch.uint8)
    confusion_matrix(truth, pred, 2)
    assert (truth.tolist(), pred.tolist()) == ([0, 1, 255], [1, 1, 9])


def test_two_identical_epochs_score_the_same() -> None:
    metric = SubjectConfusion(["a", "b"])
    results = []
    for _ in range(2):
        metric.reset()
        metric.update([("s1", torch.tensor([0, 1]), torch.tensor([0, 0]))])
        metric.update([("s1", torch.tensor([1, 1]), torch.tensor([1, 0])), ("s2", torch.zeros(2), torch.zeros(2))])
        results.append(metric.compute())
    assert results[0] == results[1]
    assert {s: m.tolist() for s, m in metric.per_subject.items()} == {"s1": [[1, 0], [2, 1]], "s2": [[2, 0], [0, 0]]}


def test_names_are_those_of_the_scores() -> None:
    assert sorted(scores(HAND, ["a", "b", "c"])) == sorted(metric_names(["a", "b", "c"]))


def test_many_matrices_at_once_score_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    many = rng.integers(0, 50, (20, 4, 4)).astype(float)
    many[:5, 2] = 0  # absent from the truth
    many[:3, :, 2] = 0  # and from the prediction
    overall, by_class = overall_scores(many), class_scores(many)
    for number, matrix in enumerate(many):
        alone = scores(matrix)
        together = {name: values[number] for name, values in overall.items()}
        together |= {
            f"{kind}/{c}": value for kind, values in by_class.items() for c, value in enumerate(values[number])
        }
        assert together == pytest.approx(alone, rel=0, abs=0, nan_ok=True)


def test_trivial_predictor() -> None:
    s = trivial_scores({"s1": HAND, "s2": HAND}, ["a", "b", "c"])
    assert s["pixel_accuracy"] == pytest.approx(12 / 22)
    assert s["mean_iou"] == pytest.approx((12 / 22 + 0) / 2)
