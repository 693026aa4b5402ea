"""Score of the best row, corrected for its selection on the subjects it is scored on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scripts.verdict.row import Row, Values


def corrected_best(rows: Sequence[Row], times: Values, sign: int, rng: np.random.Generator) -> float:
    """Return the mean score of all rows plus the out-of-sample gain from choosing the best row.

    Each draw chooses a row by some subjects and some seeds of every row. It then measures the gain of that row over the
    mean of all rows on the other subjects and, for rows with several seeds, the other seeds. The choice uses fewer
    subjects than available, so the gain is slightly underestimated.

    Args:
        times: (draws, subjects), from `subject_draws`.
        sign: 1 if high scores are good, -1 if low ones are.

    Returns NaN if no draw leaves a score.
    """
    left_out = (times == 0).astype(np.float64)
    chosen_by, scored_by = [], []
    for row in rows:
        counts = seed_draws(row.seeds, len(times), rng)
        others = counts if row.seeds == 1 else (counts == 0).astype(np.float64)
        chosen_by.append(_weighted(row.drawn(times), counts))
        scored_by.append(_weighted(row.drawn(left_out), others))
    used, rest = np.stack(chosen_by), np.stack(scored_by)
    known = ~np.isnan(used + rest).any(axis=0)
    if not known.any():
        return float("nan")
    used, rest = used[:, known], rest[:, known]
    gain = rest[np.argmax(sign * used, axis=0), np.arange(used.shape[1])] - rest.mean(axis=0)
    return float(np.mean([row.values().mean() for row in rows]) + gain.mean())


def seed_draws(seeds: int, draws: int, rng: np.random.Generator) -> Values:
    """(draws, seeds): count of each seed in each draw; of several seeds, at least one is left out."""
    counts = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
    if seeds > 1:
        whole = (counts > 0).all(axis=1)
        counts[whole] = rng.permuted(np.tile([2, 0, *[1] * (seeds - 2)], (int(whole.sum()), 1)), axis=1)
    return counts.astype(np.float64)


def _weighted(scores: Values, weights: Values) -> Values:
    """(draws,): mean of (seeds, draws) scores, weighted by (draws, seeds)."""
    return (scores * weights.T).sum(axis=0) / weights.sum(axis=1)
