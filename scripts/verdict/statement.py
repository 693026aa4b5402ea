"""Statement on the rows of a comparison: better, equivalent or undecided, ranks, and the best row's corrected score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.scoring.holm import holm
from engines.scoring.intervals import exact_ends
from scripts.verdict.pairs import all_pairs, equivalence_p, exchange_p, exchanged, pair_scales, signs_of
from scripts.verdict.ranks import Ranks, bounds, ranks
from scripts.verdict.row import Row, Values
from scripts.verdict.spread import MIN_SEEDS, SeedSpread, joint_draws, seed_spread, subject_draws, usable_folds
from scripts.verdict.winner import corrected_best

BETTER, EQUIVALENT, UNDECIDED = "better", "equivalent", "undecided"
LEVEL = 0.05


@dataclass(frozen=True)
class Pair:
    """Pair of rows, the one with the better score first.

    Attributes:
        difference: score of the first minus that of the second, with its 95 % interval `low`, `high`.
        p: p of the exchange test, Holm-corrected over all pairs.
        false_claim: fraction of the joint draws in which the first is not better than the second.
        equivalence_p: p of two one-sided tests, Holm-corrected over all pairs; None without a margin.
        word: conclusion: the first is `BETTER`, or the pair is `EQUIVALENT` or `UNDECIDED`.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float
    false_claim: float
    equivalence_p: float | None
    word: str


@dataclass(frozen=True)
class Place:
    """Result of one row: mean score over the seeds, ranks, and how often the row is first.

    Attributes:
        seed_sd: standard deviation of the score over the seeds; NaN with one seed.
        low, high: 95 % interval over subjects, and over seeds if there are enough of them.
        rank: rank of the score, with the 95 % interval of its draws.
        first: fraction of the joint draws in which the row has the best score.
        subject_rank: rank of the mean rank over subjects, with the 95 % interval of its draws; NaN if unknown.
    """

    title: str
    seeds: int
    score: float
    seed_sd: float
    low: float
    high: float
    rank: int
    rank_low: float
    rank_high: float
    first: float
    subject_rank: float
    subject_rank_low: float
    subject_rank_high: float


@dataclass(frozen=True)
class Statement:
    """Full statement on the rows of a comparison.

    Attributes:
        places: results of the rows, in their order.
        pairs: all pairs of rows, those of the best rows first.
        best: title of the row with the best score.
        false_best: fraction of the joint draws in which the best row is not first.
        corrected: score of the best row, corrected for its selection on the same subjects.
        tau: agreement of the two kinds of ranks.
        subjects: number of subjects.
        folds: number of folds within which subjects were drawn.
        margin: largest difference between equivalent rows; None if not given.
    """

    places: tuple[Place, ...]
    pairs: tuple[Pair, ...]
    best: str
    false_best: float
    corrected: float
    tau: float
    subjects: int
    folds: int
    margin: float | None

    @property
    def seeds_count(self) -> bool:
        """Whether every row has enough seeds for statements on other trainings."""
        return all(place.seeds >= MIN_SEEDS for place in self.places)


def state(
    rows: Sequence[Row],
    folds: NDArray[np.int64],
    draws: int,
    seed: int,
    margin: float | None = None,
    lower_is_better: bool = False,
) -> Statement | None:
    """Compare rows that were scored on the same subjects, in the same order.

    Args:
        rows: rows to compare.
        folds: (subjects,), the fold of each subject; all equal without a cross-validation.
        draws: number of draws of subjects and seeds, and of exchanges.
        seed: random seed of the draws.
        margin: largest difference between equivalent rows, in the unit of the score.

    Returns None with fewer than two rows or subjects, or if a row has no score.
    """
    if len(rows) < 2 or rows[0].subjects < 2 or any(np.isnan(row.values()).any() for row in rows):
        return None
    rng = np.random.default_rng(seed)
    folds, sign = usable_folds(folds), -1 if lower_is_better else 1
    times, spread = subject_draws(folds, draws, rng), seed_spread(rows, folds)
    over_subjects, drawn = joint_draws(rows, times, spread, folds, rng)
    if drawn.shape[1] == 0:
        return None
    ranked = ranks(rows, drawn, times, sign, rng)
    pairs = _pairs(rows, over_subjects, drawn, spread, signs_of(len(folds), draws, rng), margin, sign)
    order = np.argsort(-sign * np.array([row.values().mean() for row in rows]), kind="stable")
    best = int(order[0])
    return Statement(
        places=_places(rows, drawn, ranked),
        pairs=tuple(pairs),
        best=rows[best].title,
        false_best=float((ranked.of_scores_drawn[best] > 1).mean()),
        corrected=corrected_best(rows, times, sign, rng),
        tau=ranked.tau,
        subjects=len(folds),
        folds=len(np.unique(folds)),
        margin=margin,
    )


def _pairs(
    rows: Sequence[Row],
    over_subjects: Values,
    drawn: Values,
    spread: SeedSpread,
    signs: Values,
    margin: float | None,
    sign: int,
) -> list[Pair]:
    """Compare all pairs, those of the best rows first."""
    scores = np.array([row.values().mean() for row in rows])
    order = np.argsort(-sign * scores, kind="stable")
    numbers = [(int(order[a]), int(order[b])) for a, b in all_pairs(len(rows))]
    scales = pair_scales(spread, numbers)
    p = holm(exchange_p(exchanged(rows, numbers), signs, scales, spread.freedom).tolist())
    same: list[float] | None = None
    if margin is not None:
        each = (
            equivalence_p(over_subjects[a] - over_subjects[b], scale, spread.freedom, margin)
            for (a, b), scale in zip(numbers, scales, strict=True)
        )
        same = holm(list(each))
    out = []
    for number, (a, b) in enumerate(numbers):
        differences = drawn[a] - drawn[b]
        low, high = np.percentile(differences, [2.5, 97.5])
        enough = min(rows[a].seeds, rows[b].seeds) >= MIN_SEEDS
        word = _word(enough, p[number], bool(low > 0 or high < 0), None if same is None else same[number])
        out.append(
            Pair(
                rows[a].title,
                rows[b].title,
                float(scores[a] - scores[b]),
                float(low),
                float(high),
                float(p[number]),
                float((sign * differences <= 0).mean()),
                None if same is None else float(same[number]),
                word,
            )
        )
    return out


def _word(enough_seeds: bool, p: float, excludes_zero: bool, equivalence: float | None) -> str:
    if enough_seeds and p < LEVEL and excludes_zero:
        return BETTER
    if enough_seeds and equivalence is not None and equivalence < LEVEL:
        return EQUIVALENT
    return UNDECIDED


def _places(rows: Sequence[Row], drawn: Values, ranked: Ranks) -> tuple[Place, ...]:
    low, high = np.clip(np.percentile(drawn, [2.5, 97.5], axis=1), 0, [row.largest for row in rows])
    scores = [float(row.values().mean()) for row in rows]
    ends = [exact_ends(low[n], high[n], scores[n], row.counted, row.largest) for n, row in enumerate(rows)]
    by_score, by_subject = bounds(ranked.of_scores_drawn), bounds(ranked.of_subjects_drawn)
    return tuple(
        Place(
            title=row.title,
            seeds=row.seeds,
            score=scores[n],
            seed_sd=float(row.values().std(ddof=1)) if row.seeds > 1 else float("nan"),
            low=float(ends[n][0]),
            high=float(ends[n][1]),
            rank=int(ranked.of_scores[n]),
            rank_low=float(by_score[0, n]),
            rank_high=float(by_score[1, n]),
            first=float((ranked.of_scores_drawn[n] == 1).mean()),
            subject_rank=float(ranked.of_subjects[n]),
            subject_rank_low=float(by_subject[0, n]),
            subject_rank_high=float(by_subject[1, n]),
        )
        for n, row in enumerate(rows)
    )
