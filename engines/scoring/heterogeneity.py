"""Permutation test over subjects of whether groups of images differ in a score.

Let z be the contribution of an image to a score beyond its expected share (numerator - score x denominator). The
statistic is the sum over groups of (sum of z)^2 / sum over subjects of (the subject's sum of z)^2: the groups' spread,
each group scaled by its own variance, so that groups of large or of few lesions need not vary alike.

If the attribute is unrelated to the score, its values are exchangeable: whole subjects exchange their values (with
subjects of as many images), and the images of a subject exchange theirs. An attribute that is the same in all images of
a subject, such as density, is thus tested between subjects; one that varies, such as view, within subjects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Numbers = NDArray[np.int64]

AT_ONCE = 200
"""Permutations held in memory together."""


def heterogeneity_p(
    residuals: Values, subjects: Sequence[str], groups: Sequence[str], draws: int = 2000, seed: int = 0
) -> float:
    """Return the probability, under random assignment of groups, of a spread at least as large as observed.

    Args:
        residuals: (images,), contribution of each image beyond its expected share.
        subjects, groups: (images,), subject and attribute value of each image.
        draws: number of permutations.
        seed: seed of the permutations.

    Returns NaN with fewer than two groups, or if all residuals are 0.
    """
    names, group_of = np.unique(np.asarray(groups, object).astype(str), return_inverse=True)
    order = np.argsort(np.asarray(subjects, object).astype(str), kind="stable")  # images of a subject adjacent
    residuals, group_of = np.asarray(residuals, np.float64)[order], group_of.reshape(-1)[order]
    subject_of = np.unique(np.asarray(subjects, object).astype(str)[order], return_inverse=True)[1].reshape(-1)
    if len(names) < 2 or not residuals.any():
        return float("nan")
    found = _spread(residuals, subject_of, group_of[None], len(names))[0]
    reached, rng = 0, np.random.default_rng(seed)
    for dealt in _dealt(subject_of, group_of, draws, rng):
        reached += int((_spread(residuals, subject_of, dealt, len(names)) >= found * (1 - 1e-9)).sum())
    return (1 + reached) / (1 + draws)


def _spread(residuals: Values, subject_of: Numbers, groups: Numbers, count: int) -> Values:
    """Return the (permutations,) statistic of (permutations, images) groups."""
    subjects = int(subject_of.max()) + 1
    cells = (np.arange(len(groups))[:, None] * subjects + subject_of) * count + groups
    weights = np.broadcast_to(residuals, groups.shape).ravel()
    sums = np.bincount(cells.ravel(), weights, len(groups) * subjects * count).reshape(len(groups), subjects, count)
    squares = (sums**2).sum(axis=1)
    spread: Values = np.divide(
        sums.sum(axis=1) ** 2, squares, out=np.zeros(squares.shape), where=squares > 1e-12 * (residuals**2).sum()
    ).sum(axis=1)
    return spread


def _dealt(subject_of: Numbers, group_of: Numbers, draws: int, rng: np.random.Generator) -> Iterator[Numbers]:
    """Yield (up to `AT_ONCE`, images) permuted groups: between subjects of as many images, and within each."""
    sizes = np.bincount(subject_of)
    starts = np.cumsum(sizes) - sizes
    for first in range(0, draws, AT_ONCE):
        number = min(AT_ONCE, draws - first)
        out = np.empty((number, len(group_of)), np.int64)
        for size in np.unique(sizes):
            images = starts[sizes == size][:, None] + np.arange(size)  # (subjects of this size, size)
            labels = np.broadcast_to(group_of[images], (number, *images.shape))
            labels = rng.permuted(labels, axis=2) if size > 1 else labels
            whose = rng.permuted(np.broadcast_to(np.arange(len(images)), (number, len(images))), axis=1)
            out[:, images] = np.take_along_axis(labels, whose[:, :, None], axis=1)
        yield out
