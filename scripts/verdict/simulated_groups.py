"""Simulated images of subjects in groups whose scores differ by a given amount, or not at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engines.scoring.heterogeneity import heterogeneity_p
from scripts.verdict.simulated import World

SHARES = (0.35, 0.45, 0.2)
"""Fractions of the subjects in three groups."""

IMAGES, OFTEN = (1, 2, 4), (0.2, 0.6, 0.2)
"""Numbers of images per subject, and their probabilities."""

PERMUTATIONS = 199


@dataclass(frozen=True)
class Case:
    """Kind of score and grouping.

    Attributes:
        pooled: weight images by the size of their lesions instead of equally.
        within: group the images within each subject, as by view, instead of subjects.
        found: score whether an image's lesion is found instead of its Dice.
        sizes: the lesions of each group are twice as large as those of the previous one.
    """

    name: str
    pooled: bool = False
    within: bool = False
    found: bool = False
    sizes: bool = False


CASES = (
    Case("mean Dice"),
    Case("pooled Dice", pooled=True),
    Case("pooled Dice, other sizes", pooled=True, sizes=True),
    Case("mean Dice, by view", within=True),
    Case("lesions found", found=True),
)


def group_p(case: Case, world: World, subjects: int, shift: float, rng: np.random.Generator) -> float:
    """Return p of one experiment; the scores of the last group are `shift` lower before clipping to 0…1."""
    counts = rng.choice(IMAGES, p=OFTEN, size=subjects)
    subject_of = np.repeat(np.arange(subjects), counts)
    number = len(subject_of)
    first = np.cumsum(counts) - counts
    of_subject = rng.choice(len(SHARES), p=SHARES, size=subjects)
    groups = (np.arange(number) - first[subject_of]) % 2 if case.within else of_subject[subject_of]
    score = world.middle + rng.normal(0, world.subject, subjects)[subject_of] + rng.normal(0, world.training, number)
    score = np.clip(score - shift * (groups == groups.max()), 0, 1)
    if case.found:
        score = (rng.random(number) < score).astype(np.float64)
    sizes = np.exp(rng.normal(0, world.size, number)) * 2.0 ** (groups * case.sizes)
    weights = sizes if case.pooled else np.ones(number)
    residuals = (score - (score * weights).sum() / weights.sum()) * weights
    names = [f"{n:09d}" for n in subject_of]
    return heterogeneity_p(residuals, names, list(map(str, groups)), PERMUTATIONS, int(rng.integers(2**31)))
