"""Which row a result belongs to, what the row is called, and where it comes in the table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from engines.base.network_file import all_rows

LAST = (10**9, 0)
"""The order of rows of which nothing is known."""


@dataclass(frozen=True)
class Model:
    """One row of a table.

    Attributes:
        bundle: its bundle; with the stage it tells rows apart, as two networks may have a stage of the same name.
        title: name of the row.
        order: what rows are sorted by.
    """

    bundle: str
    title: str
    order: tuple[int, int]


UNKNOWN = Model("", "", LAST)


def model_of(tags: Mapping[str, str], stage: str) -> Model:
    """The row of a run: as tagged, or for runs that were logged before there were such tags, by the stage alone."""
    if {"bundle", "title", "order"} <= set(tags):
        found = re.fullmatch(r"(-?\d{1,9})\.(\d{1,9})", tags["order"])
        return Model(tags["bundle"], tags["title"], (int(found[1]), int(found[2])) if found else LAST)
    for rows in all_rows().values():
        if stage in rows.stages:
            return model_of(rows.tags(stage), stage)
    return Model("", stage, LAST)


def sort_key(model: Model, stage: str) -> tuple[object, ...]:
    """What rows are sorted by: the order of the networks, and within one that of its stages."""
    return (model.order[0], model.bundle, model.order[1], stage)
