"""Images of subjects in groups whose scores differ by a given amount, or not at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engines.scoring.heterogeneity import heterogeneity_p
from scripts.verdict.simulated import World

SHARES = (0.35, 0.45, 0.2)
"""Of the subjects, in each of three groups."""

IMAGES, OFTEN = (1, 2, 4), (0.2, 0.6, 0.2)
"""Images of a subject, and their shares."""

PERMUTATIONS = 199


@dataclass(frozen=True)
class Case:
    """What is scored and grouped.

    Attributes:
        pooled: images weigh as much as their lesions are large, instead of all the same.
        within: the groups are of a subject's images, as view is, instead of subjects.
        found: an image's lesion is found or not, instead of having a Dice.
        sizes: each group's lesions are twice as large as those of the one before.
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
    """p of one experiment; the last group's scores are `shift` lower before they are cut to 0…1."""
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
