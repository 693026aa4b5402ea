"""Row of a result: identity, title, and position in the table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from engines.base.network_file import all_rows

LAST = (10**9, 0)
"""Order of unknown rows."""


@dataclass(frozen=True)
class Model:
    """Row of a table.

    Attributes:
        bundle: bundle of the row; identifies the row together with the stage, whose name two networks may share.
        title: name of the row.
        order: sort key.
    """

    bundle: str
    title: str
    order: tuple[int, int]


UNKNOWN = Model("", "", LAST)


def model_of(tags: Mapping[str, str], stage: str) -> Model:
    """Return the row of a run by its tags or, for runs logged by a version without these tags, by its stage."""
    if {"bundle", "title", "order"} <= set(tags):
        found = re.fullmatch(r"(-?\d{1,9})\.(\d{1,9})", tags["order"])
        return Model(tags["bundle"], tags["title"], (int(found[1]), int(found[2])) if found else LAST)
    for rows in all_rows().values():
        if stage in rows.stages:
            return model_of(rows.tags(stage), stage)
    return Model("", stage, LAST)


def sort_key(model: Model, stage: str) -> tuple[object, ...]:
    """Return the sort key of a row: order of the networks, then of the stages."""
    return (model.order[0], model.bundle, model.order[1], stage)
