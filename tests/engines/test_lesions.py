"""Lesions counted by hand, and surface distances of shapes whose distance is known."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label as scipy_label

from engines.scoring.lesions import Counts, LesionDetection, count_lesions, lesion_classes
from engines.scoring.surface_distance import SurfaceDistance, hausdorff95
from transforms.errors import UserError


def mask(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Boxes of (top, left, height, width) in 40 x 40."""
    out = np.zeros((40, 40), bool)
    for top, left, height, width in boxes:
        out[top : top + height, left : left + width] = True
    return out


NOTHING = mask()


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        (NOTHING, NOTHING, Counts(0, 0, 0, 1)),
        (NOTHING, mask((0, 0, 3, 3), (10, 10, 3, 3)), Counts(0, 0, 2, 1)),
        (mask((5, 5, 10, 10)), NOTHING, Counts(1, 0, 0, 1)),
        (mask((5, 5, 10, 10)), mask((5, 5, 10, 10)), Counts(1, 1, 0, 1)),
        # 10 of 100 pixels: an intersection over union of exactly 0.1
        (mask((5, 5, 10, 10)), mask((5, 5, 1, 10)), Counts(1, 1, 0, 1)),
        (mask((5, 5, 10, 10)), mask((5, 5, 1, 9)), Counts(1, 0, 1, 1)),
        # touching is not overlapping
        (mask((5, 5, 10, 10)), mask((5, 15, 10, 10)), Counts(1, 0, 1, 1)),
        # one finding over two lesions detects both, and is no false positive
        (mask((5, 5, 10, 10), (5, 16, 10, 10)), mask((5, 5, 10, 21)), Counts(2, 2, 0, 1)),
        # two findings in one lesion detect it once
        (mask((5, 5, 10, 10)), mask((5, 5, 10, 4), (5, 11, 10, 4)), Counts(1, 1, 0, 1)),
        # corners connect
        (mask((5, 5, 2, 2), (7, 7, 2, 2)), NOTHING, Counts(1, 0, 0, 1)),
    ],
    ids=[
        "normal", "false alarms", "missed", "exact", "just enough", "too little", "beside", "two lesions", "split",
        "diagonal",
    ],
)  # fmt: skip
def test_counts(truth: np.ndarray, found: np.ndarray, expected: Counts) -> None:
    assert count_lesions(truth, found) == expected


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.01, 0.6), overlap=st.sampled_from([0.05, 0.1, 0.5]))
def test_counts_equal_a_slow_count(seed: int, share: float, overlap: float) -> None:
    rng = np.random.default_rng(seed)
    truth, found = rng.random((2, 12, 12)) < share
    eight = np.ones((3, 3))
    (a, n), (b, m) = scipy_label(truth, eight), scipy_label(found, eight)
    hit = np.array([[((a == i) & (b == j)).sum() for j in range(1, m + 1)] for i in range(1, n + 1)])
    union = np.array([[((a == i) | (b == j)).sum() for j in range(1, m + 1)] for i in range(1, n + 1)])
    matched = (hit > 0) & (hit >= overlap * union) if n and m else np.zeros((n, m), bool)
    expected = Counts(n, int(matched.any(1).sum()), int(m - matched.any(0).sum()), 1)
    assert count_lesions(truth, found, overlap) == expected


def test_totals() -> None:
    total = Counts(2, 1, 0, 1) + Counts(0, 0, 3, 1)
    assert (total.sensitivity, total.false_positives_per_image) == (0.5, 1.5)
    assert math.isnan(Counts(0, 0, 3, 1).sensitivity)
    assert math.isnan(Counts().false_positives_per_image)


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
    with pytest.raises(UserError, match="--lesion_class tumour: no such class; there are background, tumor, none"):
        lesion_classes(["background", "tumor"], "tumour")


def fake_engine(logits: torch.Tensor, label: torch.Tensor, **item: str) -> SimpleNamespace:
    engine = SimpleNamespace(state=SimpleNamespace(batch=None, output={"pred": logits}))
    engine.after = SimpleNamespace(
        batch=[{"subject": "s1", "case": "s1_L", **item}], output=[{"label": label, "pred": logits.argmax(1)}]
    )
    return engine


def test_the_curve_has_a_point_for_every_threshold_and_void_is_left_out() -> None:
    label = torch.zeros(1, 40, 40, dtype=torch.uint8)
    label[0, 5:15, 5:15] = 1
    label[0, 30:, 30:] = 255
    probability = torch.full((40, 40), 0.01)
    probability[5:15, 5:15] = 0.3  # detected only below the label map's threshold
    probability[25:28, 5:8] = 0.15  # a false positive of the lowest thresholds
    probability[32:38, 32:38] = 0.99  # void: neither right nor wrong
    logits = torch.stack([(1 - probability).log(), probability.log()])[None]
    handler = LesionDetection([1], ["background", "tumor"], thresholds=(0.1, 0.2, 0.5))
    engine = fake_engine(logits, label)
    handler._keep_probability(engine)
    engine.state = engine.after
    handler._count(engine)
    assert handler.total == Counts(1, 0, 0, 1)
    assert handler.curve == {0.1: Counts(1, 1, 1, 1), 0.2: Counts(1, 1, 0, 1), 0.5: Counts(1, 0, 0, 1)}


def test_distance_of_shifted_squares() -> None:
    square, shifted = mask((5, 5, 10, 10)), mask((5, 8, 10, 10))
    assert hausdorff95(square, square, (0.1, 0.1)) == 0
    assert hausdorff95(square, shifted, (1.0, 0.5)) == pytest.approx(1.5)  # three columns of half a millimetre
    assert hausdorff95(square.T, shifted.T, (0.2, 1.0)) == pytest.approx(0.6)
    assert math.isnan(hausdorff95(square, NOTHING, (1.0, 1.0)))
    assert math.isnan(hausdorff95(NOTHING, NOTHING, (1.0, 1.0)))


def test_an_outlier_does_not_decide() -> None:
    square, speck = mask((5, 5, 10, 10)), mask((5, 5, 10, 10), (38, 38, 1, 1))
    assert hausdorff95(square, speck, (1.0, 1.0)) < 1


def test_distances_of_a_case_and_of_one_without_spacing() -> None:
    handler = SurfaceDistance(["background", "gland", "tumor"], {"a": [0.5, 0.5], "b": None})
    label = torch.zeros(1, 40, 40, dtype=torch.uint8)
    label[0, 5:15, 5:15] = 1
    pred = label.roll(2, dims=2)
    for case in ("a", "b"):
        batch, output = [{"subject": "s", "case": case}], [{"label": label, "pred": pred}]
        handler._measure(SimpleNamespace(state=SimpleNamespace(batch=batch, output=output)))
    assert handler.unscaled == 1
    assert handler.scores() == pytest.approx({"hd95_mm/gland": 1.0, "hd95_mm/tumor": math.nan}, nan_ok=True)


def test_several_classes_are_counted_as_one_and_healthy_tissue_is_not() -> None:
    """A mass next to a distortion is one lesion; a network that calls all of it distortion has found it."""
    label = torch.zeros(1, 40, 40, dtype=torch.uint8)
    label[0, 5:15, 5:10], label[0, 5:15, 10:15] = 1, 2
    probabilities = torch.full((3, 40, 40), 0.01)
    probabilities[1:, 5:15, 5:15] = torch.tensor([0.3, 0.4])[:, None, None]
    probabilities[0] = 1 - probabilities[1:].sum(0)
    handler = LesionDetection(lesion_classes(names := ["no mass", "mass", "distortion"]), names, thresholds=(0.5, 0.75))
    engine = fake_engine(probabilities.log()[None], label)
    handler._keep_probability(engine)
    engine.state = engine.after
    handler._count(engine)
    assert handler.names == "mass, distortion"
    assert handler.total == Counts(1, 1, 0, 1)
    assert handler.curve == {0.5: Counts(1, 1, 0, 1), 0.75: Counts(1, 0, 0, 1)}
