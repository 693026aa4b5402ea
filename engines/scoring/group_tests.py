"""Tests of whether a score differs between groups of images, and which group is the worst."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from engines.scoring.draws import DRAWS, SEED
from engines.scoring.froc import Froc, Measure, mean_interval
from engines.scoring.groups import (
    LEAST_SUBJECTS,
    NAMES,
    RATE,
    UNKNOWN,
    AttributesOf,
    aligned,
    partition,
    subjects_of,
)
from engines.scoring.heterogeneity import Values, heterogeneity_p
from engines.scoring.holm import holm
from engines.scoring.intervals import sign
from engines.scoring.matching import ImageLesions

SCORE = "mean_image_dice"
"""Score that is tested by default."""


@dataclass(frozen=True)
class GroupTest:
    """Test of one attribute and one score.

    Attributes:
        groups: number of groups with a score; images with an unknown value of the attribute are excluded.
        worst, best: the attribute's values for the worst and the best group.
        worst_value, best_value: scores of these groups, the worst with its 95 % interval over `worst_subjects`.
        p: see `heterogeneity_p`; NaN if there is nothing to compare.
        p_holm: `p`, corrected for the number of attributes.
    """

    attribute: str
    score: str
    groups: int
    worst: str = ""
    worst_value: float = math.nan
    worst_low: float = math.nan
    worst_high: float = math.nan
    worst_subjects: int = 0
    best: str = ""
    best_value: float = math.nan
    p: float = math.nan
    p_holm: float = math.nan

    def record(self) -> dict[str, Any]:
        """Return a row for a table; None in place of NaN."""
        return {key: None if value != value else value for key, value in asdict(self).items()}


def group_tests(
    trainings: Sequence[Sequence[ImageLesions]],
    attributes_of: AttributesOf,
    names: Sequence[str],
    score: str = SCORE,
    draws: int = DRAWS,
    seed: int = SEED,
) -> list[GroupTest]:
    """Test every attribute with two groups or more, with p-values corrected by Holm for their number.

    Args:
        trainings: results of each training of one row, for the same images.
        score: one of `engines.scoring.groups.NAMES`.
    """
    found = []
    for attribute, parts in partition(trainings[0], attributes_of, names).items():
        of_case = {
            (image.subject, image.case): value
            for value, part in parts.items()
            if value != UNKNOWN and subjects_of(part) >= LEAST_SUBJECTS
            for image in part
        }
        if len(set(of_case.values())) > 1:
            found.append(_test(attribute, score, trainings, of_case, draws, seed))
    return corrected(found)


def corrected(tests: Sequence[GroupTest]) -> list[GroupTest]:
    """Return the tests with p-values corrected by Holm for the number of attributes."""
    known = [test for test in tests if not math.isnan(test.p)]
    p = dict(zip((test.attribute for test in known), holm([test.p for test in known]), strict=True))
    return [replace(test, p_holm=p.get(test.attribute, math.nan)) for test in tests]


def _test(
    attribute: str,
    score: str,
    trainings: Sequence[Sequence[ImageLesions]],
    of_case: Mapping[tuple[str, str], str],
    draws: int,
    seed: int,
) -> GroupTest:
    known = [[image for image in images if (image.subject, image.case) in of_case] for images in trainings]
    subjects = [image.subject for image in known[0]]
    groups = [of_case[image.subject, image.case] for image in known[0]]
    # the threshold of candidates is chosen on all images, including those of unknown groups
    each = [
        _of_images(mine, score, Froc(images).threshold_at(RATE)) for mine, images in zip(known, trainings, strict=True)
    ]
    sums = {
        value: [Measure(*_by_subject(subjects, groups, value, measure), measure.largest) for measure in each]
        for value in dict.fromkeys(groups)
    }
    values = {value: float(np.mean([one.value for one in measures])) for value, measures in sums.items()}
    order = sorted((value for value in values if not math.isnan(values[value])), key=lambda value: values[value])
    if score.startswith("false"):
        order.reverse()
    if len(order) < 2:
        return GroupTest(attribute, score, len(order))
    counted = np.any([measure.denominator > 0 for measure in each], axis=0)
    p = heterogeneity_p(
        np.mean([_residuals(measure) for measure in each], axis=0)[counted],
        [subject for subject, here in zip(subjects, counted, strict=True) if here],
        [group for group, here in zip(groups, counted, strict=True) if here],
        draws,
        seed,
    )
    worst, best = order[0], order[-1]
    bounds = mean_interval(sums[worst], draws, seed)
    of = len(sums[worst][0].numerator)
    return GroupTest(attribute, score, len(order), worst, values[worst], *bounds, of, best, values[best], p)


def _of_images(images: Sequence[ImageLesions], score: str, threshold: float) -> Measure:
    """Return the score as contributions of each image, in order."""
    froc = Froc(replace(image, subject=f"{number:09d}") for number, image in enumerate(images))
    return {**froc.at(threshold), **froc.dice()}[NAMES[score]]


def _by_subject(subjects: Sequence[str], groups: Sequence[str], value: str, measure: Measure) -> tuple[Values, Values]:
    """Return numerator and denominator of the images of one group, by subject."""
    here = np.array([group == value for group in groups])
    place = np.unique(np.array(subjects, object)[here].astype(str), return_inverse=True)[1].reshape(-1)
    numerator: Values = np.bincount(place, measure.numerator[here]).astype(np.float64)
    denominator: Values = np.bincount(place, measure.denominator[here]).astype(np.float64)
    return numerator, denominator


def _residuals(measure: Measure) -> Values:
    total = measure.denominator.sum()
    if not total:
        return np.zeros_like(measure.numerator)
    rest: Values = (measure.numerator - measure.numerator.sum() / total * measure.denominator) / total
    return rest


HEAD = ("Attribute", "Groups", "Worst", "its score", "Best", "its score", "p", "p, Holm")


def cells_of(test: GroupTest) -> list[str]:
    """Return the cells of a displayed row, under `HEAD`."""
    factor, digits = (1, 2) if test.score.startswith("false") or "hd95" in test.score else (100, 1)

    def number(value: float) -> str:
        return "n/a" if math.isnan(value) else f"{factor * value:.{digits}f}"

    bounds = "" if math.isnan(test.worst_low) else f" [{number(test.worst_low)}, {number(test.worst_high)}]"
    bounds += sign(test.worst_subjects) if bounds else ""
    shown = [_p(test.p), _p(test.p_holm)]
    return [
        *(test.attribute, str(test.groups), test.worst, number(test.worst_value) + bounds),
        *(test.best, number(test.best_value), *shown),
    ]


def shown_tests(tests: Sequence[GroupTest]) -> list[str]:
    """Return the tests of one row as lines of a table, with an explanation."""
    return [*aligned([list(HEAD), *map(cells_of, tests)]), note_of(tests[0].score)] if tests else []


def _p(value: float) -> str:
    if math.isnan(value):
        return "n/a"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def note_of(score: str) -> str:
    """Return the explanation of the table."""
    return (
        f"Do the groups differ in {score}? p: permutation test, exchanging the attribute between subjects and between "
        "the images of a subject; corrected by Holm for the number of attributes. A group may differ for another "
        "reason that correlates with the attribute, and one that does not differ may be too small to show it."
    )
