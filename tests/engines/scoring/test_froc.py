"""Matching and FROC: cases drawn by hand, and an independent count in a few lines of SciPy."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lesion_definition import curve
from scipy.ndimage import gaussian_filter

from engines.scoring.froc import Froc, size_bands, subject_draws
from engines.scoring.intervals import widening
from engines.scoring.matching import FALSE, HIT, NEITHER, ImageLesions, Judged, Lesion, Rule, judge


def drawn(*boxes: tuple[float, int, int, int, int]) -> np.ndarray:
    """A map of 40 x 40 with boxes of (probability, top, left, height, width)."""
    out = np.zeros((40, 40))
    for p, top, left, height, width in boxes:
        out[top : top + height, left : left + width] = p
    return out


def judged(truth: np.ndarray, p: np.ndarray, **options: object) -> ImageLesions:
    void = options.pop("void", None)
    return judge("s1", "s1_L", truth > 0, p > 0.5, p, void=void, rule=Rule(**options))  # type: ignore[arg-type]


LESION = drawn((1, 5, 5, 10, 10))
TWO = drawn((1, 5, 5, 10, 10), (1, 5, 16, 10, 10))


@pytest.mark.parametrize(
    ("truth", "p", "outcomes"),
    [
        (drawn(), drawn(), []),
        (drawn(), drawn((0.9, 0, 0, 3, 3), (0.2, 10, 10, 3, 3)), [FALSE, FALSE]),
        (LESION, drawn(), []),
        (LESION, drawn((0.9, 5, 5, 10, 10)), [HIT]),
        # 10 of 100 pixels: an intersection over union of exactly 0.1; 3 of 30, which is not exact in binary
        (LESION, drawn((0.9, 5, 5, 1, 10)), [HIT]),
        (LESION, drawn((0.9, 5, 5, 1, 9)), [FALSE]),
        (drawn((1, 5, 5, 3, 10)), drawn((0.9, 5, 5, 1, 3)), [HIT]),
        # touching is not overlapping
        (LESION, drawn((0.9, 5, 15, 10, 10)), [FALSE]),
        # the second on a lesion is neither
        (LESION, drawn((0.6, 5, 5, 10, 4), (0.9, 5, 11, 10, 4)), [HIT, NEITHER]),
        # one candidate on two lesions finds one
        (TWO, drawn((0.9, 5, 5, 10, 21)), [HIT]),
        # the higher one takes the lesion it overlaps most, the lower one what is left
        (TWO, drawn((0.9, 5, 9, 10, 17), (0.3, 5, 5, 10, 3)), [HIT, HIT]),
    ],
    ids=[
        "normal", "false alarms", "missed", "exact", "just enough", "too little", "three of thirty", "beside", "split",
        "two lesions", "what is left",
    ],
)  # fmt: skip
def test_outcomes(truth: np.ndarray, p: np.ndarray, outcomes: list[str]) -> None:
    assert [c.outcome for c in judged(truth, p).candidates] == outcomes


def test_the_largest_overlap_is_taken() -> None:
    image = judged(TWO, drawn((0.9, 5, 12, 10, 14)))  # 3 columns of the first lesion, all of the second
    assert [lesion.score for lesion in image.lesions] == [None, 0.9]
    assert image.candidates[0].lesion == 1


def test_rules_of_a_hit() -> None:
    corner = drawn((0.9, 14, 14, 21, 21))  # one shared pixel; the center (24, 24) is outside
    around = drawn((0.9, 0, 0, 39, 39))  # the center (19, 19) is in the lesion, which is a hundredth of it
    small = drawn((1, 17, 17, 4, 4))
    expected = {"iou": [FALSE, FALSE], "center": [FALSE, HIT], "overlap": [HIT, HIT]}
    for hit, outcomes in expected.items():
        pairs = [(LESION, corner), (small, around)]
        assert [judged(truth, p, hit=hit).candidates[0].outcome for truth, p in pairs] == outcomes


def test_void_lesions_and_void_pixels() -> None:
    speck = drawn((1, 5, 5, 2, 2), (1, 20, 20, 10, 10))
    image = judged(speck, drawn((0.9, 5, 5, 2, 2)), min_lesion_size=5)
    assert [c.outcome for c in image.candidates] == [NEITHER]
    assert [lesion.void for lesion in image.lesions] == [True, False]
    assert len(image.counted) == 1
    void = drawn((1, 0, 0, 40, 6)) > 0
    image = judged(drawn(), drawn((0.9, 3, 0, 5, 5), (0.8, 3, 20, 5, 5)), void=void)
    assert [c.outcome for c in image.candidates] == [NEITHER, FALSE]
    assert image.dice is None
    # of a candidate half in void, the other half is compared: 50 of 100 pixels, alone
    image = judged(LESION, drawn((0.9, 5, 0, 10, 11)), void=void & (LESION == 0))
    assert image.candidates[0].outcome == HIT
    assert image.dice == pytest.approx(2 * 60 / 160)


@pytest.mark.parametrize("hit", ["iou", "center", "overlap"])
def test_a_peak_in_a_void_lesion_is_no_false_positive(hit: str) -> None:
    """The region is 16 times the speck: by intersection over union, it could never be found."""
    speck, peak = drawn((1, 20, 20, 3, 3)), (0.8, 21, 21, 1, 1)
    on = drawn((0.6, 15, 15, 12, 12), peak)
    assert [c.outcome for c in judged(speck, on, hit=hit, min_lesion_size=25).candidates] == [NEITHER]
    assert [c.outcome for c in judged(drawn(), on, hit=hit, min_lesion_size=25).candidates] == [FALSE]
    both = speck + drawn((1, 15, 15, 12, 4))  # a lesion that counts is found all the same
    expected = NEITHER if hit == "center" else HIT
    assert [c.outcome for c in judged(both, on, hit=hit, min_lesion_size=25).candidates] == [expected]
    beside = drawn((0.6, 15, 15, 12, 12), (0.8, 16, 16, 1, 1))  # it only overlaps the speck
    expected = NEITHER if hit == "overlap" else FALSE
    assert [c.outcome for c in judged(speck, beside, hit=hit, min_lesion_size=25).candidates] == [expected]


def test_dice_of_lesions() -> None:
    """Against the parts of the mask that touch a lesion, together."""
    image = judged(TWO, drawn((0.9, 5, 5, 4, 10), (0.8, 11, 5, 2, 10), (0.7, 30, 30, 5, 5)))
    assert [lesion.dice for lesion in image.lesions] == [2 * 60 / 160, 0.0]
    assert image.dice == 2 * 60 / (200 + 85)


def an_image(name: str, scores: list[float | None], false: list[float]) -> ImageLesions:
    """Lesions of 100 pixels found at scores, and false positives."""
    lesions = tuple(Lesion(100, 0.01, None, (0, 0, 10, 10), score, 0.5) for score in scores)
    candidates = [Judged(s, 9, (0, 0, 3, 3), HIT, n) for n, s in enumerate(scores) if s is not None]
    candidates += [Judged(s, 9, (0, 0, 3, 3), FALSE) for s in false]
    return ImageLesions(name.split("_")[0], name, 100 if scores else 0, 100, 50, lesions, tuple(candidates))


IMAGES = [
    an_image("a_L", [0.9, 0.2], [0.5]),
    an_image("a_R", [None], []),
    an_image("b_L", [0.4], [0.7, 0.3]),
    an_image("c_L", [], [0.6, 0.2]),
]


def test_curve_by_hand() -> None:
    froc = Froc(IMAGES)
    assert froc.thresholds.tolist() == [0.9, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]
    assert froc.found.tolist() == [1, 1, 1, 1, 2, 2, 3]
    assert froc.false_positives.tolist() == [0, 1, 2, 3, 3, 4, 5]
    assert froc.sensitivity.tolist() == [0.25, 0.25, 0.25, 0.25, 0.5, 0.5, 0.75]
    rows = froc.rows()
    assert [row["false_positives_per_normal_image"] for row in rows] == [0, 0, 1, 1, 1, 1, 2]
    assert [row["image_sensitivity"] for row in rows] == pytest.approx([1 / 3] * 4 + [2 / 3] * 3)
    assert [row["subject_sensitivity"] for row in rows] == [0.5] * 4 + [1.0] * 3
    assert [froc.threshold_at(rate) for rate in (0, 0.25, 0.5, 0.75, 1, 2)] == [0.9, 0.7, 0.6, 0.4, 0.3, 0.2]


def test_scores_at_a_threshold() -> None:
    at = {name: measure.value for name, measure in Froc(IMAGES).at(0.4).items()}
    assert at == {
        "lesion_sensitivity": 0.5,
        "image_sensitivity": 2 / 3,
        "subject_sensitivity": 1.0,
        "lesion_false_positives_per_image": 0.75,
        "lesion_false_positives_per_normal_image": 1.0,
    }
    assert Froc(IMAGES).dice()["mean_image_dice"].value == 0.5


def test_nothing_to_find_and_nothing_found() -> None:
    normal = Froc([an_image("a", [], [0.9])])
    assert math.isnan(normal.at(0.5)["lesion_sensitivity"].value)
    assert normal.threshold_at(0.5) == math.inf
    blind = Froc([an_image("a", [None], []), an_image("b", [None], [])])
    assert blind.at(blind.threshold_at(1))["lesion_sensitivity"].value == 0
    assert blind.rows() == []
    assert Froc([]).at(0.5)["lesion_sensitivity"].denominator.size == 0


def test_intervals_are_over_subjects_at_a_fixed_threshold() -> None:
    images = [an_image(f"s{n}", [0.9 if n % 3 else 0.1] * (1 + n % 2), [0.5]) for n in range(12)]
    measure = Froc(images).at(0.4)["lesion_sensitivity"]
    low, high = measure.interval(400, 7)
    times = np.random.default_rng(7).multinomial(12, np.full(12, 1 / 12), size=400)
    lesions = np.array([1 + n % 2 for n in range(12)])
    names = sorted(range(12), key=lambda n: f"s{n}")
    found = np.array([(n % 3 > 0) * (1 + n % 2) for n in range(12)])
    samples = [(t @ found[names]) / (t @ lesions[names]) for t in times]
    wide = measure.value + widening(12) * (np.array(samples) - measure.value)
    assert (low, high) == pytest.approx(tuple(np.percentile(wide, [2.5, 97.5]).clip(0, 1)), abs=1e-12)
    rows = Froc(images).rows(400, 7)
    assert [(r["sensitivity_low"], r["sensitivity_high"]) for r in rows if r["threshold"] == 0.5] == [(low, high)]
    assert not subject_draws(3, 5).flags.writeable


def test_sizes() -> None:
    def lesion(share: float, mm: float | None) -> Lesion:
        return Lesion(1, share, mm, (0, 0, 1, 1), None, 0.0)

    known = [lesion(0.1, 9.9), lesion(0.1, 10.0), lesion(0.1, 25.0)]
    assert [[le.diameter_mm for le in known if b(le)] for b in size_bands(known).values()] == [[9.9], [10.0], [25.0]]
    mixed = [lesion(n / 10, None if n else 5.0) for n in range(9)]
    counts = {name: sum(map(belongs, mixed)) for name, belongs in size_bands(mixed).items()}
    assert counts == {"smallest_third": 3, "middle_third": 3, "largest_third": 3}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), sigma=st.sampled_from([1.0, 2.0]))
def test_equal_to_an_independent_count(seed: int, sigma: float) -> None:
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(4):
        noise, other = (gaussian_filter(rng.random((30, 26)), sigma) for _ in range(2))
        truth = noise > np.quantile(noise, 0.93)
        p = 0.7 * noise + 0.3 * other
        images.append((truth, (((p - p.min()) / (p.max() - p.min())) ** 5).astype(np.float32)))
    froc = Froc(judge(f"s{n}", f"s{n}", truth, p > 0.5, p) for n, (truth, p) in enumerate(images))
    expected = curve(images)
    assert froc.thresholds.tolist() == [t for t, *_ in expected]
    assert froc.found.tolist() == [h for _, h, _ in expected]
    assert froc.false_positives.tolist() == [f for *_, f in expected]
    assert all(a <= b for a, b in pairwise(froc.found))
