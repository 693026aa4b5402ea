"""Simulated experiments with known truth: rows that differ only by a given amount, on simulated subjects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from scripts.verdict.row import Row, Values

MEAN, POOLED = "mean Dice", "pooled Dice"
LARGE = 400_000


@dataclass(frozen=True)
class World:
    """Standard deviations of the Dice, as fractions.

    Attributes:
        middle: Dice of an average subject.
        subject: over subjects, the same for all rows.
        pair: of the difference of two rows over subjects, the same for all their trainings.
        training: of the difference of two trainings of a row over subjects.
        seed: over trainings of a row, the same for all subjects.
        uneven: `seed` varies over the rows from 0.25 to 2.5 times its value instead of being equal.
        size: of the logarithm of the subjects' lesion sizes.
    """

    middle: float = 0.5
    subject: float = 0.25
    pair: float = 0.10
    training: float = 0.10
    seed: float = 0.015
    uneven: bool = False
    size: float = 1.0


def experiment(
    world: World, score: str, rows: int, seeds: int, subjects: int, rng: np.random.Generator, shift: float = 0.0
) -> list[Row]:
    """Return rows of `MEAN` or `POOLED` Dice; the Dice of the first is `shift` higher before clipping to 0…1."""
    spread = world.seed * (np.geomspace(0.25, 2.5, rows) if world.uneven and rows > 1 else np.ones(rows))
    dice = (
        world.middle
        + rng.normal(0, world.subject, subjects)
        + rng.normal(0, world.pair / np.sqrt(2), (rows, 1, subjects))
        + rng.normal(0, 1, (rows, seeds, 1)) * spread[:, None, None]
        + rng.normal(0, world.training / np.sqrt(2), (rows, seeds, subjects))
    )
    dice[0] += shift
    numerator, denominator = _parts(np.clip(dice, 0, 1), score, world.size, rng)
    return [Row(f"row {n + 1}", numerator[n, ..., None], denominator[n, ..., None]) for n in range(rows)]


def _parts(dice: Values, score: str, size: float, rng: np.random.Generator) -> tuple[Values, Values]:
    """Return numerator and denominator of each subject's Dice; if pooled, in pixels of truth and prediction."""
    if score == MEAN:
        return dice, np.ones_like(dice)
    truth = np.exp(rng.normal(0, size, dice.shape[-1]))
    predicted = truth * np.exp(rng.normal(0, 0.3, dice.shape))
    shared = np.minimum(dice * (truth + predicted) / 2, np.minimum(truth, predicted))
    return 2 * shared, truth + predicted


@lru_cache(maxsize=32)
def true_score(world: World, score: str, shift: float = 0.0) -> float:
    """Return the expected score of a row over all possible subjects and seeds."""
    even = replace(world, uneven=False)
    rng = np.random.default_rng(0)
    # one training of each of many rows, so that pairs, seeds and trainings vary like the subjects
    rest = np.sqrt(even.subject**2 + even.pair**2 / 2 + even.seed**2 + even.training**2 / 2)
    dice = np.clip(even.middle + shift + rng.normal(0, rest, (1, LARGE)), 0, 1)
    numerator, denominator = _parts(dice, score, even.size, rng)
    return float(numerator.sum() / denominator.sum())


def shift_for(world: World, difference: float) -> float:
    """Return the `shift` that makes the mean Dice of a row `difference` higher than that of the others."""
    target = true_score(world, MEAN) + difference
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if true_score(world, MEAN, middle) < target else (low, middle)
    return (low + high) / 2
