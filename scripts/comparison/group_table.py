"""The lesion scores of a comparison's rows by group of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engines.records.attributes import Attributes, check_known
from engines.records.tables import write_csv
from engines.scoring.groups import HEAD, Group, cells, groups
from scripts.comparison.lesion_table import LesionRow, shown_title
from scripts.comparison.table import Comparison
from transforms.errors import UserError
from transforms.plain_text import csv_cell

FILE = "groups.csv"

Grouped = Mapping[str, Sequence[Group]]
"""Title of a row → its groups."""


def with_groups(
    comparisons: Sequence[Comparison], attributes: Attributes, draws: int, seed: int, out: Path
) -> list[Comparison]:
    """The comparisons with their tables by group, which are also written to groups.csv.

    Raises:
        UserError: the attributes are those of other images, or no lesions were counted.
    """
    made, rows = [], []
    for comparison in comparisons:
        if not comparison.lesions:
            raise UserError(f"--attributes: {comparison.dataset}: no lesions were counted by one rule; leave it out")
        found = grouped(comparison.lesions, attributes, comparison.dataset)
        rows += group_records(found, comparison.dataset, draws, seed)
        lines = tuple(map(tuple, group_table(found, draws, seed)))
        made.append(replace(comparison, groups=lines))
    write_csv(
        out / FILE, [{csv_cell(k): csv_cell(v) if isinstance(v, str) else v for k, v in row.items()} for row in rows]
    )
    return made


def grouped(rows: Sequence[LesionRow], attributes: Attributes, dataset: str) -> dict[str, list[Group]]:
    """The groups of every row.

    Raises:
        UserError: the attributes are those of other images.
    """
    for row in rows[:1]:
        check_known(attributes, ((image.subject, image.case) for image in row.result.images), dataset)
    return {shown_title(row): groups(row.result.images, attributes.of, attributes.names) for row in rows}


def group_table(found: Grouped, draws: int, seed: int) -> list[list[str]]:
    """The groups one after another, each with all rows; empty without groups."""
    order = dict.fromkeys((group.attribute, group.value) for each in found.values() for group in each)
    table = [
        [(texts := cells(group, draws, seed))[0], title, *texts[1:]]
        for key in order
        for title, each in found.items()
        for group in each
        if (group.attribute, group.value) == key
    ]
    return [[HEAD[0], "Model", *HEAD[1:]], *table] if table else []


def group_records(found: Grouped, dataset: str, draws: int, seed: int) -> list[dict[str, Any]]:
    """One dictionary for each row and group, for CSV."""
    return [
        {"dataset": dataset, "model": title, **group.record(draws, seed)}
        for title, each in found.items()
        for group in each
    ]
