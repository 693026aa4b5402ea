"""Uncertainty of a comparison: intervals by resampling subjects, and a paired test against the best.

The unit is the subject, since images of one subject are not independent. Intervals are those of
`engines.scoring.intervals` over bootstrap samples, each the pooled confusion matrix of as many subjects drawn with
replacement; all rows share the draws. The test is Wilcoxon's signed-rank test of the subjects' mean IoU against that of
the row with the best pooled mean IoU, with p-values Holm-corrected for the number of rows tested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from engines.records.score_table import MEAN_TITLES
from engines.scoring.draws import DRAWS, SEED
from engines.scoring.holm import holm
from engines.scoring.intervals import interval
from engines.scoring.metrics import overall_scores, scores

INTERVALS = tuple(MEAN_TITLES)
"""Scores with an interval, and with a mean and standard deviation over folds."""


def pooled(subjects: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the confusion matrix of all subjects."""
    return np.sum(list(subjects.values()), axis=0)


def intervals(
    subjects: Mapping[str, NDArray[np.int64]], draws: int = DRAWS, seed: int = SEED
) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each of `INTERVALS`: name → (low, high); NaN with only one subject."""
    return mean_intervals([subjects], draws, seed)


def mean_intervals(
    trainings: Sequence[Mapping[str, NDArray[np.int64]]], draws: int = DRAWS, seed: int = SEED
) -> dict[str, tuple[float, float]]:
    """Return the same for the mean over several trainings scored on the same subjects, over subjects only."""
    number = len(trainings[0])
    if number < 2:
        return dict.fromkeys(INTERVALS, (np.nan, np.nan))
    times = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=draws)
    samples: dict[str, list[NDArray[np.float64]]] = {name: [] for name in INTERVALS}
    for subjects in trainings:
        matrices = np.stack([subjects[name] for name in sorted(subjects)]).astype(np.float64)
        drawn = overall_scores(np.tensordot(times.astype(np.float64), matrices, axes=1))
        for name in INTERVALS:
            samples[name].append(drawn[name])
    values = mean_scores([scores(pooled(subjects)) for subjects in trainings])
    bounds = {name: interval(np.mean(each, axis=0), values[name], number, 1.0) for name, each in samples.items()}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}


def mean_scores(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of every score over several trainings; NaN if one has none."""
    return {name: float(np.mean([values[name] for values in each])) for name in each[0]}


def subject_mean_iou(subjects: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float64]:
    """Return the mean IoU of each subject's own matrix, in order of name."""
    return np.array([scores(subjects[name])["mean_iou"] for name in sorted(subjects)])


def p_values(rows: Sequence[NDArray[np.float64]], best: int) -> list[float | None]:
    """Return the corrected p-value of each row against row `best`, from the subjects' mean IoU; None for `best`."""
    others = [index for index in range(len(rows)) if index != best]
    raw = [_wilcoxon(rows[index], rows[best]) for index in others]
    corrected = dict(zip(others, holm(raw), strict=True))
    return [corrected.get(index) for index in range(len(rows))]


def _wilcoxon(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    both = ~(np.isnan(first) | np.isnan(second))
    difference = first[both] - second[both]
    if not difference.any():
        return 1.0  # no difference in any subject
    return float(wilcoxon(difference[difference != 0]).pvalue)
