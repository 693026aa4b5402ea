"""Uncertainty of a row's score from the subjects, drawn within folds, and from the training seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.scoring.intervals import exact_ends, widening
from scripts.verdict.row import Row, Values

MIN_SEEDS = 3
"""Trainings per row below which no statement on other trainings is possible."""


def usable_folds(folds: NDArray[np.int64]) -> NDArray[np.int64]:
    """(subjects,): folds numbered from 0; one fold for all subjects if any fold has a single subject."""
    numbers = np.unique(folds, return_inverse=True)[1].reshape(-1)
    return numbers if np.bincount(numbers).min() > 1 else np.zeros_like(numbers)


def subject_draws(folds: NDArray[np.int64], draws: int, rng: np.random.Generator) -> Values:
    """(draws, subjects): count of each subject in each bootstrap sample; every fold keeps its size."""
    times = np.zeros((draws, len(folds)))
    for fold in np.unique(folds):
        here = np.flatnonzero(folds == fold)
        times[:, here] = rng.multinomial(len(here), np.full(len(here), 1 / len(here)), size=draws)
    return times


def variance_over_subjects(influence: Values, folds: NDArray[np.int64]) -> Values:
    """(...): variance of a score over samples of subjects within folds, from (..., subjects) influences."""
    total = np.zeros(influence.shape[:-1])
    for fold in np.unique(folds):
        here = influence[..., folds == fold]
        total = total + here.shape[-1] * here.var(axis=-1, ddof=1)
    return total


@dataclass(frozen=True)
class SeedSpread:
    """Variation of the scores over seeds.

    Attributes:
        scale: (rows,) standard deviation of each row's mean over its seeds; 0 with fewer than `MIN_SEEDS`.
        freedom: degrees of freedom of the Student's t that the scales multiply.
    """

    scale: Values
    freedom: int


def seed_spread(rows: Sequence[Row], folds: NDArray[np.int64]) -> SeedSpread:
    """Estimate the part of each row's variance that is due to seeds.

    The variance over a row's seeds is the larger of its own and the mean over rows, because the variance of only three
    seeds is too often too small. The part already explained by subjects is subtracted: seeds that score well on
    different subjects differ on any sample of subjects.
    """
    enough = np.array([row.seeds >= MIN_SEEDS for row in rows])
    scale = np.zeros(len(rows))
    if not enough.any():
        return SeedSpread(scale, 1)
    own, by_subjects, freedom = np.zeros((3, len(rows)))
    for index in np.flatnonzero(enough).tolist():
        row = rows[index]
        influence = row.influence()
        own[index] = row.values().var(ddof=1)
        rest = influence - influence.mean(axis=0)
        by_subjects[index] = variance_over_subjects(rest, folds).sum() / (row.seeds - 1)
        freedom[index] = row.seeds - 1
    common = float((own * freedom).sum() / freedom.sum())
    for index in np.flatnonzero(enough).tolist():
        left = max(own[index], common) - by_subjects[index]
        scale[index] = np.sqrt(max(0.0, left) / rows[index].seeds)
    return SeedSpread(scale, int(freedom.sum()))


def score_interval(row: Row, draws: int, seed: int) -> tuple[float, float, float]:
    """Return the score of a row with its 95 % interval over subjects, and over seeds if there are enough of them.

    The score is NaN if the row has none; the interval is NaN then and with fewer than two subjects.
    """
    value = float(row.values().mean())
    if np.isnan(value) or row.subjects < 2:
        return value, float("nan"), float("nan")
    folds, rng = np.zeros(row.subjects, np.int64), np.random.default_rng(seed)
    drawn = joint_draws([row], subject_draws(folds, draws, rng), seed_spread([row], folds), folds, rng)[1]
    low, high = np.clip(np.percentile(drawn[0], [2.5, 97.5]), 0, row.largest)
    low, high = exact_ends(low, high, value, row.counted, row.largest)
    return value, float(low), float(high)


def joint_draws(
    rows: Sequence[Row], times: Values, spread: SeedSpread, folds: NDArray[np.int64], rng: np.random.Generator
) -> tuple[Values, Values]:
    """Return scores of all rows over draws of subjects, shared by all rows, and of seeds, drawn per row.

    Draws with replacement vary less than new samples: those of subjects are widened to compensate, and seeds are drawn
    from Student's t, because three seeds drawn with replacement would vary by a third too little.

    Returns (rows, draws) over subjects only, and over subjects and seeds, omitting draws in which a row has no score.
    """
    center = np.array([row.values().mean() for row in rows])
    over_subjects = np.stack([row.drawn(times).mean(axis=0) for row in rows])
    over_subjects = over_subjects[:, ~np.isnan(over_subjects).any(axis=0)]
    wider = widening(len(folds), len(np.unique(folds)))
    over_subjects = center[:, None] + wider * (over_subjects - center[:, None])
    draws = over_subjects.shape[1]
    noise = rng.standard_normal((len(rows), draws)) / np.sqrt(rng.chisquare(spread.freedom, draws) / spread.freedom)
    return over_subjects, over_subjects + spread.scale[:, None] * noise
