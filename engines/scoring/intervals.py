"""The 95 % interval of a score over subjects: one method for all tables, chosen by its coverage (docs/verdict.md)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

Values = NDArray[np.float64]

LEVELS = (2.5, 97.5)
FEW_SUBJECTS = 20
FEW_SIGN = "~"
"""Sign after an interval over fewer subjects than `FEW_SUBJECTS`."""

COVERAGE = {10: ("94.7", "92.3"), 18: ("94.6", "92.7")}
"""Subjects → percent of simulated experiments whose interval held the truth, for mean Dice and pooled Dice."""


def widening(subjects: int, folds: int = 1) -> float:
    """Return the factor that widens draws: a sample's variance is too small, and Student's t wider than the normal."""
    freedom = subjects - folds
    return float(np.sqrt(subjects / freedom) * stdtrit(freedom, 0.975) / ndtri(0.975))


def interval(
    samples: Values, value: float | Values, subjects: int, largest: float = math.inf, counted: int | None = None
) -> tuple[Values, Values]:
    """Percentile interval, widened about the score by `widening`, with `exact_ends`.

    Args:
        samples: (draws, ...), the score of bootstrap samples of the subjects; NaN if a sample has no score.
        value: (...), the score of all subjects.
        subjects: number of subjects, at least 2.
        largest: maximum of the score; the minimum is 0.
        counted: number of subjects with a score of their own, such as those with a lesion; None for all.

    Returns low and high, each (...).
    """
    with np.errstate(invalid="ignore"):
        low, high = np.nanpercentile(value + widening(subjects) * (samples - value), LEVELS, axis=0)
    low, high = np.clip(low, 0, largest), np.clip(high, 0, largest)
    return exact_ends(low, high, value, subjects if counted is None else counted, largest)


def exact_ends(
    low: Values | float, high: Values | float, value: Values | float, subjects: int, largest: float
) -> tuple[Values, Values]:
    """Return an interval with the exact bound for a score of 0 or `largest`, which all bootstrap samples share.

    With n subjects of score 0, fewer than 1 - 0.025^(1/n) of all people have another one (Clopper and Pearson 1934), so
    their mean score is at most that share of `largest`. Scores without a maximum keep their interval.
    """
    if not math.isfinite(largest) or subjects < 1:
        return np.asarray(low), np.asarray(high)
    share = (LEVELS[0] / 100) ** (1 / subjects)
    return (
        np.where(np.asarray(value) >= largest, largest * share, low),
        np.where(np.asarray(value) <= 0, largest * (1 - share), high),
    )


def sign(subjects: int) -> str:
    """Return the sign after an interval over so many subjects."""
    return FEW_SIGN if subjects < FEW_SUBJECTS else ""


def few_subjects(subjects: int) -> str | None:
    """Return the sentence for tables of intervals over few subjects; None if there are enough."""
    if not 2 <= subjects < FEW_SUBJECTS:
        return None
    held = " and ".join(f"{mean} % ({pooled} % of pooled scores) with {n}" for n, (mean, pooled) in COVERAGE.items())
    return (
        f"Too few subjects ({subjects}): do not interpret small differences. Intervals marked {FEW_SIGN} should hold "
        f"the truth in 95 % of all experiments; in simulated ones they held it in {held} subjects."
    )
