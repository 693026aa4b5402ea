"""Interval of a score over subjects, and the warning for few subjects."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from engines.scoring.froc import Measure
from engines.scoring.intervals import few_subjects, interval, sign, widening
from scripts.verdict.row import Row
from scripts.verdict.spread import score_interval
from scripts.verdict.statement import state


def test_widening_is_that_of_student_s_t() -> None:
    assert widening(10) == pytest.approx(np.sqrt(10 / 9) * stats.t.ppf(0.975, 9) / stats.norm.ppf(0.975))
    assert widening(10, folds=2) == pytest.approx(np.sqrt(10 / 8) * stats.t.ppf(0.975, 8) / stats.norm.ppf(0.975))
    assert 1 < widening(1000) < 1.003


def test_the_percentiles_are_moved_away_from_the_score() -> None:
    samples = np.linspace(0.4, 0.6, 1001)  # 2.5th and 97.5th percentile: 0.405 and 0.595
    low, high = interval(samples, 0.5, 10)
    assert (float(low), float(high)) == pytest.approx((0.5 - 0.095 * widening(10), 0.5 + 0.095 * widening(10)))


def test_an_interval_stays_where_a_score_can_be_and_leaves_out_samples_without_one() -> None:
    samples = np.array([[0.0, 0.99], [0.02, 1.0], [np.nan, 1.0]])
    low, high = interval(samples, np.array([0.01, 1.0]), 3, 1.0)
    assert low[0] == 0
    assert high.tolist() == [pytest.approx(0.01 + widening(3) * 0.0095), 1.0]
    assert interval(np.array([0.9, 1.1]), 1.0, 3)[1] > 1  # false positives per image, say


@pytest.mark.parametrize("found", [0, 8])
def test_a_score_of_none_or_all_subjects_has_the_exact_interval(found: int) -> None:
    """Eight of ten subjects have a lesion."""
    measure = Measure(np.array([found / 8] * 8 + [0.0, 0]), np.array([1.0] * 8 + [0.0, 0]))
    exact = stats.binomtest(found, 8).proportion_ci(0.95, "exact")
    assert measure.interval() == pytest.approx((exact.low, exact.high))
    assert measure.interval() == pytest.approx((0.6306, 1) if found else (0, 0.3694), abs=1e-4)
    several = Row(
        "a", np.tile(measure.numerator[:, None], (3, 1, 1)), np.tile(measure.denominator[:, None], (3, 1, 1)), 1
    )
    assert several.counted == 8
    assert score_interval(several, 100, 0)[1:] == pytest.approx((exact.low, exact.high))
    other = Row("b", several.numerator * 0 + 0.5 * several.denominator, several.denominator, 1.0)
    place = state([several, other], np.zeros(10, int), 100, 0).places[0]
    assert (place.low, place.high) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize(
    ("subjects", "diseased", "found"), [(200, 10, 0.9), (60, 60, 0.97), (18, 18, 0.9), (18, 9, 0.75)]
)
def test_intervals_of_a_sensitivity_contain_the_truth_as_often_as_promised(
    subjects: int, diseased: int, found: float
) -> None:
    """In many samples all of few lesions are found, and bootstrap samples of these do not vary."""
    random, held = np.random.default_rng(0), 0
    lesions = np.repeat([1.0, 0.0], [diseased, subjects - diseased])
    for _ in range(300):
        low, high = Measure(lesions * (random.random(subjects) < found), lesions).interval(200)
        held += low <= found <= high
    assert held >= 0.95 * 300


def test_one_subject_with_a_lesion_has_no_interval() -> None:
    """One lesion found of her two; all bootstrap samples with her have this score."""
    assert np.isnan(Measure(np.array([1.0, 0, 0]), np.array([2.0, 0, 0])).interval()).all()


def test_a_score_without_a_maximum_keeps_its_interval() -> None:
    assert Measure(np.zeros(8), np.ones(8), math.inf).interval() == (0, 0)  # false positives per image, say


def test_few_subjects_are_told_with_the_coverage_that_was_measured() -> None:
    assert few_subjects(20) is None
    assert few_subjects(1) is None
    assert "94.6 % (92.7 % of pooled scores) with 18 subjects" in str(few_subjects(19))
    assert (sign(19), sign(20)) == ("~", "")
