"""Ranks of the rows, and their stability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau, rankdata

from scripts.verdict.row import Row, Values

AT_ONCE = 100
"""Number of draws whose ranks per subject are in memory at once."""


@dataclass(frozen=True)
class Ranks:
    """Ranks of the rows: 1 is best, and tied rows share the smaller rank.

    Attributes:
        of_scores: (rows,) rank of each row's score over all subjects (aggregate, then rank).
        of_scores_drawn: (rows, draws) the same for each draw of subjects and seeds.
        of_subjects: (rows,) rank of the mean rank over subjects (rank, then aggregate); NaN if no subject has a
            score in every row.
        of_subjects_drawn: (rows, draws) the same for each draw of subjects and seeds; no draws if that is NaN.
        tau: Kendall's tau of the two orders, 1 if they agree; NaN if one is unknown.
    """

    of_scores: Values
    of_scores_drawn: Values
    of_subjects: Values
    of_subjects_drawn: Values
    tau: float


def bounds(drawn: Values) -> Values:
    """(2, rows): ranks at the 2.5th and 97.5th percentile of (rows, draws); NaN without draws."""
    if drawn.shape[1] == 0:
        return np.full((2, len(drawn)), np.nan)
    found: Values = np.percentile(drawn, [2.5, 97.5], axis=1, method="inverted_cdf")
    return found


def ranks(rows: Sequence[Row], drawn: Values, times: Values, sign: int, rng: np.random.Generator) -> Ranks:
    """Compute both kinds of ranks.

    Args:
        drawn: (rows, draws) scores of all rows, from `joint_draws`.
        times: (draws, subjects), from `subject_draws`.
        sign: 1 if high scores are good, -1 if low ones are.
    """
    of_scores = _rank(sign * np.array([row.values().mean() for row in rows]))
    each = [sign * row.of_subjects() for row in rows]
    known = ~np.isnan(np.concatenate(each)).any(axis=0)
    if not known.any():
        unknown = np.full(len(rows), np.nan)
        return Ranks(of_scores, _rank(sign * drawn), unknown, np.empty((len(rows), 0)), np.nan)
    each = [scores[:, known] for scores in each]
    means = _rank(np.stack([scores.mean(axis=0) for scores in each]), "average").mean(axis=1)
    subjects = _rank(-means)
    tau = float(kendalltau(of_scores, subjects).statistic)
    return Ranks(of_scores, _rank(sign * drawn), subjects, _subject_draws(each, times[:, known], rng), tau)


def _subject_draws(each: Sequence[Values], times: Values, rng: np.random.Generator) -> Values:
    """(rows, draws): ranks by subject, with subjects and each row's seeds drawn with replacement."""
    times = times[times.sum(axis=1) > 0]
    out = []
    for first in range(0, len(times), AT_ONCE):
        some = times[first : first + AT_ONCE]
        counts = [rng.multinomial(len(s), np.full(len(s), 1 / len(s)), size=len(some)) for s in each]
        scores = np.stack([count @ s / len(s) for count, s in zip(counts, each, strict=True)])
        of_each = _rank(scores, "average")
        out.append(_rank(-(of_each * some).sum(axis=2)))
    return np.concatenate(out, axis=1) if out else np.empty((len(each), 0))


def _rank(scores: Values, ties: str = "min") -> Values:
    """Rank the rows (first axis), the highest score first."""
    found: Values = rankdata(-scores, method=ties, axis=0).astype(np.float64)
    return found
