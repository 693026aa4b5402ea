"""Scores of a comparison's rows by group of images, and tests for differences between groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engines.records.attributes import Attributes
from engines.records.tables import write_csv
from engines.scoring import group_tests as tests
from engines.scoring.froc import mean_interval
from engines.scoring.group_tests import GroupTest, group_tests, note_of
from engines.scoring.groups import NAMES, Group, few_notes, groups
from engines.scoring.intervals import sign
from scripts.comparison.lesion_table import shown_title
from scripts.comparison.store import Result
from scripts.comparison.subject_groups import SubjectGroup, subject_groups
from scripts.comparison.table import Comparison, Extra

FILE, TESTS = "groups.csv", "group_tests.csv"
HEADING = "Lesions by group, per cent"
SUBJECT_HEADING = "Scores by group of subjects, per cent"
TEST_HEADING = "Do the groups differ?"
HEADS = {
    "lesion_sensitivity_at_1fp": "Found at 1 FP",
    "false_positives_per_image_at_1fp": "FP per image",
    "mean_image_dice": "Dice per image",
    "lesion_dice": "Dice",
}

Score = tuple[float, float, float]
"""Value, low and high."""


@dataclass(frozen=True)
class Line:
    """Scores of one row and group; NaN if the group is too small."""

    model: str
    attribute: str
    value: str
    counts: Mapping[str, int]
    scores: Mapping[str, Score]


def with_groups(
    comparisons: Sequence[Comparison],
    attributes: Attributes,
    draws: int,
    seed: int,
    out: Path,
    metric: str | None = None,
) -> list[Comparison]:
    """Add the tables by group to the comparisons, and write them to groups.csv and group_tests.csv.

    Args:
        attributes: attributes of the images, all of which are used for grouping.
        metric: score to test between groups; see `tested_score`.

    Raises:
        UserError: no lesions were counted, and a row does not have the score.
    """
    made, lines, found = [], [], []
    for comparison in comparisons:
        rows, checked, few = _of(comparison, attributes, draws, seed, metric)
        heading = HEADING if comparison.lesions else SUBJECT_HEADING
        extra = [Extra(heading, tuple(map(tuple, _table(rows))), tuple(few))]
        if checked:
            score = checked[0][1].score
            extra.append(Extra(TEST_HEADING, tuple(map(tuple, _tests_table(checked))), (note_of(score),)))
        made.append(replace(comparison, extra=(*comparison.extra, *extra)))
        lines += [_record(line, comparison.dataset) for line in rows]
        found += [{"dataset": comparison.dataset, "model": title, **test.record()} for title, test in checked]
    for name, content in ((FILE, lines), (TESTS, found)):
        (out / name).unlink(missing_ok=True)
        if content:
            write_csv(out / name, content)
    return made


def tested_score(metric: str | None, classes: Sequence[str]) -> str:
    """Return the lesion score to test between groups: as requested, or the mean Dice per image."""
    if metric in [f"dice/{name}" for name in classes]:
        return "lesion_dice"
    return metric if metric is not None and metric in NAMES else tests.SCORE


Found = tuple[list[Line], list[tuple[str, GroupTest]], list[str]]


def _of(comparison: Comparison, attributes: Attributes, draws: int, seed: int, metric: str | None) -> Found:
    """Return lines in the order of groups, tests, and notes on small groups."""
    lines: list[Line] = []
    checked: list[tuple[str, GroupTest]] = []
    few: list[str] = []
    results = {row.title: row.result for row in comparison.rows if row.result is not None}
    for lesion_row in comparison.lesions:
        result = results[lesion_row.title]
        each = [other.lesions.images for other in result.trainings if other.lesions is not None]
        parts = [groups(images, attributes.of, attributes.names) for images in each]
        title = shown_title(lesion_row)
        lines += [_line(title, same, draws, seed) for same in zip(*parts, strict=True)]
        score = tested_score(metric, lesion_row.result.classes)
        names = attributes.names
        checked += [(title, test) for test in group_tests(each, attributes.of, names, score, draws, seed)]
        few = few_notes(parts[0])
    if not comparison.lesions:
        for title, result in results.items():
            made, more = _of_subjects(result, attributes, draws, seed, metric)
            lines += [_subject_line(title, group) for group in made]
            checked += [(title, test) for test in more]
    order = list(dict.fromkeys((line.attribute, line.value) for line in lines))
    return sorted(lines, key=lambda line: order.index((line.attribute, line.value))), checked, few


def _of_subjects(
    result: Result, attributes: Attributes, draws: int, seed: int, metric: str | None
) -> tuple[list[SubjectGroup], list[GroupTest]]:
    return subject_groups(result, attributes, draws, seed, metric)


def _line(title: str, same: Sequence[Group], draws: int, seed: int) -> Line:
    """Return the line of one group, over all trainings of a row."""
    first = same[0]
    scores = {}
    for name in NAMES:
        each = [group.measures[name] for group in same if name in group.measures]
        value = float(np.mean([one.value for one in each])) if each else math.nan
        scores[name] = (value, *(mean_interval(each, draws, seed) if each else (math.nan, math.nan)))
    counts = {"subjects": first.subjects, "images": first.images, "lesions": first.lesions}
    return Line(title, first.attribute, first.value, counts, scores)


def _subject_line(title: str, group: SubjectGroup) -> Line:
    return Line(title, group.attribute, group.value, {"subjects": group.subjects}, group.scores)


def _table(lines: Sequence[Line]) -> list[list[str]]:
    """Return the table, group by group with all rows; empty without groups."""
    if not lines:
        return []
    heads = [HEADS.get(name, name) for name in lines[0].scores]
    counted = [name.capitalize() for name in lines[0].counts]
    return [["Group", "Model", *counted, *heads], *(_cells(line) for line in lines)]


def _cells(line: Line) -> list[str]:
    start = [f"{line.attribute} {line.value}", line.model, *map(str, line.counts.values())]
    if all(math.isnan(value) for value, _, _ in line.scores.values()):
        return [*start, "too few subjects", *[""] * (len(line.scores) - 1)]
    return [*start, *(_text(name, score, line.counts["subjects"]) for name, score in line.scores.items())]


def _text(name: str, score: Score, subjects: int) -> str:
    factor, digits = (1, 2) if name.startswith("false") or "hd95" in name else (100, 1)
    value, low, high = (f"{factor * number:.{digits}f}" for number in score)
    if math.isnan(score[0]):
        return "n/a"
    return value if math.isnan(score[1]) else f"{value} [{low}, {high}]{sign(subjects)}"


def _record(line: Line, dataset: str) -> dict[str, Any]:
    """Return a row of the CSV file."""
    row: dict[str, Any] = {"dataset": dataset, "model": line.model, "attribute": line.attribute, "group": line.value}
    row |= line.counts
    for name, score in line.scores.items():
        row |= dict(zip((name, f"{name}_low", f"{name}_high"), score, strict=True))
    return {key: None if value != value else value for key, value in row.items()}


def _tests_table(checked: Sequence[tuple[str, GroupTest]]) -> list[list[str]]:
    """Return a table with a line per attribute and row."""
    order = list(dict.fromkeys(test.attribute for _, test in checked))
    lines = sorted(checked, key=lambda pair: order.index(pair[1].attribute))
    head = [tests.HEAD[0], "Model", *tests.HEAD[1:]]
    return [head, *([(cells := tests.cells_of(test))[0], title, *cells[1:]] for title, test in lines)]
