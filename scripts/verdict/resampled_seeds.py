"""One recipe trained with many seeds, randomly halved: how often one half is called better than the other.

The two halves differ only in their seeds, so every "better" is a false claim.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from scripts.verdict.row import Row, Values, mean_ratio


def halves(row: Row, times: int, rng: np.random.Generator) -> Iterator[list[Row]]:
    """Yield pairs of rows, each with a random half of the seeds of one row."""
    half = row.seeds // 2
    for _ in range(times):
        order = rng.permutation(row.seeds)
        yield [_some(row, order[:half]), _some(row, order[half : 2 * half])]


def single_pairs(row: Row) -> Iterator[list[Row]]:
    """Yield every pair of seeds as two rows of one training each."""
    for first in range(row.seeds):
        for second in range(first + 1, row.seeds):
            yield [_some(row, np.array([first])), _some(row, np.array([second]))]


def old_method(rows: list[Row]) -> bool:
    """Wilcoxon signed-rank test on the subjects' scores of one training each, at 5 %, as in most papers."""
    first, second = (mean_ratio(row.numerator[0], row.denominator[0]) for row in rows)
    difference = (first - second)[~np.isnan(first - second)]
    difference = difference[difference != 0]
    return bool(len(difference) and wilcoxon(difference).pvalue < 0.05)


def subject_bootstrap(rows: list[Row], times: Values) -> bool:
    """Whether the 95 % percentile interval of the difference, over subjects only, excludes 0."""
    first, second = (row.drawn(times)[0] for row in rows)
    low, high = np.nanpercentile(first - second, [2.5, 97.5])
    return bool(low > 0 or high < 0)


def _some(row: Row, seeds: NDArray[np.int64]) -> Row:
    return Row("", row.numerator[seeds], row.denominator[seeds])
