"""Table of models trained on one data set and tested on another, over all data sets of a comparison."""

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
    """Score of trainings on one data set for the subjects of another.

    Attributes:
        low, high: 95 % interval over subjects, and over seeds if there are enough of them.
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
    """Return all rows of all data sets; none if every network was only tested on its own data set."""
    results = [row.result for comparison in comparisons for row in comparison.rows if row.result is not None]
    if all(home(result) == result.dataset for result in results):
        return []
    found = [_transfer(result, draws, seed, metric or default_metric(result.classes)) for result in results]
    return sorted((one for one in found if one is not None), key=lambda one: (one.model, one.trained_on, one.tested_on))


def home(result: Result) -> str:
    """Return the data set on which the network of a result was trained."""
    return result.trained_on or result.dataset


def _transfer(result: Result, draws: int, seed: int, metric: str) -> Transfer | None:
    try:
        (row,) = verdict_rows([result.model.title], [result], metric)
    except UserError:
        return None  # has other classes
    value, low, high = score_interval(row, draws, seed)
    about = (result.model.title, home(result), result.dataset, result.section, metric)
    return None if math.isnan(value) else Transfer(*about, value, low, high, row.subjects)


def transfer_heading(found: Sequence[Transfer]) -> str:
    """Return the heading of the table."""
    unit = "" if found and lower_is_better(found[0].metric) else ", per cent"
    return f"Trained on (rows), tested on (columns): {' and '.join(sorted({one.metric for one in found}))}{unit}"


def transfer_table(found: Sequence[Transfer]) -> list[list[str]]:
    """Return a table with a line per model and training data set, and a column per test data set; may be empty."""
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
    """Return the lines of transfer.csv, with scores as fractions."""
    return [dict(vars(one)) for one in found]
