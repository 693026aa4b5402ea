"""Interval methods for one score over subjects, compared by coverage; docs/verdict.md states the one in use."""

from __future__ import annotations

import numpy as np
from scipy import stats

from engines.scoring.intervals import interval
from scripts.verdict.row import Values, mean_ratio

METHODS = ("percentile", "percentile, widened", "BCa", "logit, Student's t", "logit, bootstrap-t")


def intervals(numerator: Values, denominator: Values, draws: int, rng: np.random.Generator) -> Values:
    """(methods, 2): 95 % interval of sum(numerator) / sum(denominator), both (subjects,), by each of `METHODS`."""
    number = len(numerator)
    times = rng.multinomial(number, np.full(number, 1 / number), size=draws).astype(np.float64)
    value = numerator.sum() / denominator.sum()
    samples = mean_ratio((times @ numerator)[:, None], (times @ denominator)[:, None])
    logit, error = _logit(value, _error(numerator, denominator, np.ones((1, number)))[0])
    logits, errors = _logit(samples, _error(numerator, denominator, times))
    low, high = np.nanpercentile((logits - logit) / errors, [2.5, 97.5])
    t = stats.t.ppf(0.975, number - 1)
    return np.array(
        [
            np.nanpercentile(samples, [2.5, 97.5]),
            interval(samples, value, number, 1.0),
            _bca(numerator, denominator, samples),
            _inverse(np.array([logit - t * error, logit + t * error])),
            _inverse(np.array([logit - high * error, logit - low * error])),
        ]
    )


def _error(numerator: Values, denominator: Values, times: Values) -> Values:
    """(draws,): standard error of the score of each draw, by the delta method."""
    number, total = len(numerator), times @ denominator
    ratio = (times @ numerator) / total
    squares = (
        times @ numerator**2 - 2 * ratio * (times @ (numerator * denominator)) + ratio**2 * (times @ denominator**2)
    )
    error: Values = np.sqrt(np.maximum(squares, 1e-12 * total**2) * number / (number - 1)) / total
    return error


def _logit(value: Values, error: Values) -> tuple[Values, Values]:
    inside = np.clip(value, 1e-4, 1 - 1e-4)
    return np.log(inside / (1 - inside)), error / (inside * (1 - inside))


def _inverse(logit: Values) -> Values:
    inverse: Values = 1 / (1 + np.exp(-logit))
    return inverse


def _bca(numerator: Values, denominator: Values, samples: Values) -> Values:
    """Bias-corrected and accelerated interval (Efron 1987) from the same bootstrap samples."""
    value = numerator.sum() / denominator.sum()
    without = (numerator.sum() - numerator) / (denominator.sum() - denominator)
    pull = without.mean() - without
    acceleration = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
    share = np.clip((samples < value).mean(), 1 / len(samples), 1 - 1 / len(samples))
    bias, z = stats.norm.ppf(share), stats.norm.ppf([0.025, 0.975])
    level = stats.norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
    found: Values = np.nanpercentile(samples, 100 * level)
    return found
