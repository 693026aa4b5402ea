"""Every pair of rows: difference, interval, exchange test, equivalence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtr

from scripts.verdict.row import Row, Values, influence
from scripts.verdict.spread import SeedSpread


def all_pairs(count: int) -> list[tuple[int, int]]:
    """(first, second) of every pair of rows."""
    return [(first, second) for first in range(count) for second in range(first + 1, count)]


def exchanged(rows: Sequence[Row], pairs: Sequence[tuple[int, int]]) -> Values:
    """(pairs, subjects): what each subject adds to the difference of a pair, to first order.

    Both rows are linearized at their common sums, so that exchanging a subject's results turns its sign and changes
    nothing else. The sum over subjects is the difference itself where the score is a mean over subjects.
    """
    numerators = np.stack([row.numerator.mean(axis=0) for row in rows])
    denominators = np.stack([row.denominator.mean(axis=0) for row in rows])
    first, second = (list(numbers) for numbers in zip(*pairs, strict=True))
    sums = [part.sum(axis=1) for part in (numerators, denominators)]
    center = [(part[first] + part[second]) / 2 for part in sums]
    parts: list[Values] = [influence(numerators[side], denominators[side], *center) for side in (first, second)]
    return parts[0] - parts[1]


def signs_of(subjects: int, draws: int, rng: np.random.Generator) -> Values:
    """(draws, subjects) of 1 and -1: which subjects' results are exchanged."""
    return 2 * rng.integers(0, 2, (draws, subjects)).astype(np.float64) - 1


def exchange_p(differences: Values, signs: Values, scales: Values, freedom: int) -> Values:
    """(pairs,): probability, if the two rows were alike, of a difference at least as large as the one found.

    Args:
        differences: (pairs, subjects), of `exchanged`.
        signs: (draws, subjects), of `signs_of`.
        scales: (pairs,), the seeds' standard deviation of each difference; 0 takes the subjects alone.
        freedom: of Student's t, by which the scales are multiplied.
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
    """The larger p of two one-sided tests, that a difference is not below `margin` and not above -`margin`.

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
    """(pairs,): the seeds' standard deviation of each difference."""
    return np.array([np.hypot(spread.scale[first], spread.scale[second]) for first, second in pairs])
