"""Trained on one data set, tested on another: one table over all data sets of a comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engines.scoring.intervals import sign
from scripts.comparison.metric import default_metric, lower_is_better, verdict_rows
from scripts.comparison.store import Result
from scripts.comparison.table import Comparison
from scripts.verdict.spread import score_interval
from transforms.errors import UserError


@dataclass(frozen=True)
class Transfer:
    """A score of trainings of one data set on the subjects of another.

    Attributes:
        low, high: 95 % interval over subjects, and over seeds where there are enough of them.
    """

    model: str
    trained_on: str
    tested_on: str
    section: str
    metric: str
    value: float
    low: float
    high: float
    subjects: int


def transfers(comparisons: Sequence[Comparison], draws: int, seed: int, metric: str | None = None) -> list[Transfer]:
    """Every row of every data set; none if no network was tested on another data set than its own."""
    results = [row.result for comparison in comparisons for row in comparison.rows if row.result is not None]
    if all(home(result) == result.dataset for result in results):
        return []
    found = [_transfer(result, draws, seed, metric or default_metric(result.classes)) for result in results]
    return sorted((one for one in found if one is not None), key=lambda one: (one.model, one.trained_on, one.tested_on))


def home(result: Result) -> str:
    """The data set that a result's network was trained on."""
    return result.trained_on or result.dataset


def _transfer(result: Result, draws: int, seed: int, metric: str) -> Transfer | None:
    try:
        (row,) = verdict_rows([result.model.title], [result], metric)
    except UserError:
        return None  # of other classes
    value, low, high = score_interval(row, draws, seed)
    about = (result.model.title, home(result), result.dataset, result.section, metric)
    return None if math.isnan(value) else Transfer(*about, value, low, high, row.subjects)


def transfer_heading(found: Sequence[Transfer]) -> str:
    """What the table shows."""
    unit = "" if found and lower_is_better(found[0].metric) else ", per cent"
    return f"Trained on (rows), tested on (columns): {' and '.join(sorted({one.metric for one in found}))}{unit}"


def transfer_table(found: Sequence[Transfer]) -> list[list[str]]:
    """A line for each model and data set it was trained on, a column for each data set tested on; empty without any."""
    if not found:
        return []
    columns = sorted({one.tested_on for one in found})
    lines = list(dict.fromkeys((one.model, one.trained_on) for one in found))
    cells = {(one.model, one.trained_on, one.tested_on): _cell(one) for one in found}
    head = ["Model", "Trained on", *columns]
    return [head, *([*line, *(cells.get((*line, column), "") for column in columns)] for line in lines)]


def _cell(one: Transfer) -> str:
    factor = 1 if lower_is_better(one.metric) else 100
    own = " (own)" if one.trained_on == one.tested_on else ""
    bounds = "" if math.isnan(one.low) else f" [{factor * one.low:.1f}, {factor * one.high:.1f}]{sign(one.subjects)}"
    return f"{factor * one.value:.1f}{bounds}{own}"


def transfer_records(found: Sequence[Transfer]) -> list[dict[str, Any]]:
    """Lines of transfer.csv, scores as fractions."""
    return [dict(vars(one)) for one in found]
