"""Scores by group of subjects if no class is a lesion, from the results of each subject."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from engines.records.attributes import Attributes
from engines.scoring.group_tests import GroupTest, corrected
from engines.scoring.groups import LEAST_SUBJECTS, SIZE, UNKNOWN
from engines.scoring.heterogeneity import heterogeneity_p
from scripts.comparison.metric import default_metric, lower_is_better, verdict_rows
from scripts.comparison.store import Result
from scripts.verdict.row import Row
from scripts.verdict.spread import score_interval

SCORES = ("mean_iou", "mean_dice")


@dataclass(frozen=True)
class SubjectGroup:
    """Subjects with one value of an attribute; scores are NaN if the subjects are too few."""

    attribute: str
    value: str
    subjects: int
    scores: Mapping[str, tuple[float, float, float]]


def subject_groups(
    result: Result, attributes: Attributes, draws: int, seed: int, metric: str | None = None
) -> tuple[list[SubjectGroup], list[GroupTest]]:
    """Return groups and a test for every attribute that is the same in all images of a subject.

    Args:
        metric: score to test between groups.

    Raises:
        UserError: the row does not have the score.
    """
    score = metric or default_metric(result.classes)
    names = tuple(dict.fromkeys([*SCORES, score]))
    rows = {name: verdict_rows([result.model.title], [result], name)[0] for name in names}
    subjects, found, tests = sorted(result.subjects), [], []
    for attribute in attributes.names:
        of = [_value(attributes, subject, attribute) for subject in subjects]
        values = _merged(of) if attribute != SIZE else of
        kept = [value for value in sorted(set(values)) if value != UNKNOWN]
        if len(set(values)) < 2:
            continue
        every = [*kept, *([UNKNOWN] if UNKNOWN in values else [])]
        found += [_group(attribute, value, values, rows, draws, seed) for value in every]
        large = [value for value in kept if values.count(value) >= LEAST_SUBJECTS]
        if len(large) > 1:
            tests.append(_test(attribute, score, rows[score], values, large, draws, seed))
    return found, corrected(tests)


def _value(attributes: Attributes, subject: str, name: str) -> str:
    """Return the attribute of a subject: as in the table, or else the value shared by all of her images."""
    own = attributes.subjects.get(subject, {}).get(name)
    if own is not None:
        return own
    found = {
        texts.get(name, UNKNOWN)
        for case, texts in attributes.cases.items()
        if case == subject or case.startswith(f"{subject}_")
    }
    return found.pop() if len(found) == 1 else UNKNOWN


def _merged(values: list[str]) -> list[str]:
    few = sorted(v for v in set(values) if values.count(v) < LEAST_SUBJECTS and v != UNKNOWN)
    other = f"other ({', '.join(few)})"
    return [other if value in few and len(few) > 1 else value for value in values]


def _some(row: Row, values: list[str], kept: Collection[str]) -> Row:
    here = np.array([value in kept for value in values])
    return replace(row, numerator=row.numerator[:, here], denominator=row.denominator[:, here])


def _group(
    attribute: str, value: str, values: list[str], rows: Mapping[str, Row], draws: int, seed: int
) -> SubjectGroup:
    count = values.count(value)
    nothing = (math.nan, math.nan, math.nan)
    scores = {
        name: nothing if count < LEAST_SUBJECTS else score_interval(_some(row, values, {value}), draws, seed)
        for name, row in rows.items()
    }
    return SubjectGroup(attribute, value, count, scores)


def _test(
    attribute: str, score: str, row: Row, values: list[str], large: list[str], draws: int, seed: int
) -> GroupTest:
    found = {value: score_interval(_some(row, values, {value}), draws, seed) for value in large}
    known = [value for value in large if not math.isnan(found[value][0])]
    order = sorted(known, key=lambda value: found[value][0], reverse=lower_is_better(score))
    if len(order) < 2:
        return GroupTest(attribute, score, len(order))
    kept, of = _some(row, values, set(order)), [value for value in values if value in order]
    p = heterogeneity_p(kept.influence().mean(axis=0), [f"{n:09d}" for n in range(len(of))], of, draws, seed)
    worst, best = order[0], order[-1]
    return GroupTest(attribute, score, len(order), worst, *found[worst], values.count(worst), best, found[best][0], p)
