"""Results of one score for a row: the contribution of every subject, for every seed.

A score is the mean over its parts (classes; often one) of a sum over subjects divided by a sum over subjects: the Dice
of a class, mean IoU, lesion sensitivity, mean Dice per image. Parts with a zero denominator are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One row: a network, trained with one or more seeds, scored on the same subjects.

    Attributes:
        title: name of the row.
        numerator: (seeds, subjects, parts).
        denominator: (seeds, subjects, parts), not negative.
        largest: maximum of the score, at which intervals end; the minimum is 0.
    """

    title: str
    numerator: Values
    denominator: Values
    largest: float = math.inf

    @property
    def counted(self) -> int:
        """Number of subjects with a score of their own, such as those with a lesion."""
        return int((self.denominator > 0).any(axis=(0, 2)).sum())

    @property
    def seeds(self) -> int:
        """Number of trainings."""
        return len(self.numerator)

    @property
    def subjects(self) -> int:
        """Number of subjects."""
        return self.numerator.shape[1]

    def values(self) -> Values:
        """(seeds,): score of each seed over all subjects; NaN if all denominators are 0."""
        return mean_ratio(self.numerator.sum(axis=1), self.denominator.sum(axis=1))

    def drawn(self, times: Values) -> Values:
        """(seeds, draws): score of each seed over subjects, with subject i counted times[draw, i] times."""
        return mean_ratio(times @ self.numerator, times @ self.denominator)

    def of_subjects(self) -> Values:
        """(seeds, subjects): score of each subject alone; NaN if it has none."""
        return mean_ratio(self.numerator, self.denominator)

    def influence(self) -> Values:
        """(seeds, subjects): first-order change of the score if a subject is counted once more."""
        return influence(self.numerator, self.denominator, self.numerator.sum(axis=1), self.denominator.sum(axis=1))


def mean_ratio(numerator: Values, denominator: Values) -> Values:
    """Mean over the last axis of numerator / denominator, without parts whose denominator is 0; NaN if all are."""
    known = denominator > 0
    ratios = np.divide(numerator, denominator, out=np.zeros(denominator.shape), where=known)
    count = known.sum(axis=-1)
    return np.divide(ratios.sum(axis=-1), count, out=np.full(count.shape, np.nan), where=count > 0)


def influence(numerator: Values, denominator: Values, sum_numerator: Values, sum_denominator: Values) -> Values:
    """First-order contribution of each subject to `mean_ratio`, linearized at the given sums.

    Args:
        numerator, denominator: (..., subjects, parts).
        sum_numerator, sum_denominator: (..., parts).

    Returns (..., subjects).
    """
    known = sum_denominator > 0
    ratio = np.divide(sum_numerator, sum_denominator, out=np.zeros(known.shape), where=known)
    weight = np.divide(1.0, sum_denominator, out=np.zeros(known.shape), where=known)
    weight = weight / np.maximum(1, known.sum(axis=-1, keepdims=True))
    residual = numerator - ratio[..., None, :] * denominator
    return np.einsum("...ip,...p->...i", residual, weight)
