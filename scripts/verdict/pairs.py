"""Exchange and equivalence tests for each pair of rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtr

from scripts.verdict.row import Row, Values, influence
from scripts.verdict.spread import SeedSpread


def all_pairs(count: int) -> list[tuple[int, int]]:
    """Return (first, second) of every pair of rows."""
    return [(first, second) for first in range(count) for second in range(first + 1, count)]


def exchanged(rows: Sequence[Row], pairs: Sequence[tuple[int, int]]) -> Values:
    """(pairs, subjects): first-order contribution of each subject to the difference of a pair.

    Both rows are linearized at their mean sums, so that exchanging a subject's results only flips the sign of its
    contribution. If the score is a mean over subjects, the contributions sum to the difference itself.
    """
    numerators = np.stack([row.numerator.mean(axis=0) for row in rows])
    denominators = np.stack([row.denominator.mean(axis=0) for row in rows])
    first, second = (list(numbers) for numbers in zip(*pairs, strict=True))
    sums = [part.sum(axis=1) for part in (numerators, denominators)]
    center = [(part[first] + part[second]) / 2 for part in sums]
    parts: list[Values] = [influence(numerators[side], denominators[side], *center) for side in (first, second)]
    return parts[0] - parts[1]


def signs_of(subjects: int, draws: int, rng: np.random.Generator) -> Values:
    """(draws, subjects): random signs; -1 exchanges the results of a subject."""
    return 2 * rng.integers(0, 2, (draws, subjects)).astype(np.float64) - 1


def exchange_p(differences: Values, signs: Values, scales: Values, freedom: int) -> Values:
    """(pairs,): probability of a difference at least as large as the observed one if both rows were equivalent.

    Args:
        differences: (pairs, subjects), from `exchanged`.
        signs: (draws, subjects), from `signs_of`.
        scales: (pairs,), standard deviation of each difference over seeds; 0 uses only the subjects.
        freedom: degrees of freedom of the Student's t that the scales multiply.
    """
    found = np.abs(differences.sum(axis=1))
    drawn = signs @ differences.T
    p = np.empty(len(found))
    for pair, scale in enumerate(scales):
        if scale > 0:
            p[pair] = _two_tails(drawn[:, pair], found[pair], scale, freedom)
        else:
            slack = 1e-12 * np.abs(differences[pair]).sum()
            p[pair] = (1 + (np.abs(drawn[:, pair]) >= found[pair] - slack).sum()) / (1 + len(drawn))
    return p


def _two_tails(drawn: Values, found: float, scale: float, freedom: int) -> float:
    below = stdtr(freedom, (-found - drawn) / scale)
    above = stdtr(freedom, (drawn - found) / scale)
    return float((below + above).mean())


def equivalence_p(differences: Values, scale: float, freedom: int, margin: float) -> float:
    """Return the larger p of two one-sided tests (TOST), that a difference is >= `margin` and that it is <= -`margin`.

    Args:
        differences: draws of the difference over subjects.
        scale, freedom: as for `exchange_p`.
    """
    if scale > 0:
        too_high = stdtr(freedom, (differences - margin) / scale).mean()
        too_low = stdtr(freedom, (-margin - differences) / scale).mean()
        return float(max(too_high, too_low))
    number = len(differences)
    return float(max((1 + (differences >= margin).sum()), (1 + (differences <= -margin).sum())) / (1 + number))


def pair_scales(spread: SeedSpread, pairs: Sequence[tuple[int, int]]) -> Values:
    """(pairs,): standard deviation of each difference over seeds."""
    return np.array([np.hypot(spread.scale[first], spread.scale[second]) for first, second in pairs])
