"""Boundary scores of a comparison's rows: surface Dice, Hausdorff distance and boundary IoU, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.scoring.boundary_scores import KINDS, MEAN, BoundaryResult
from engines.scoring.froc import mean_interval
from engines.scoring.intervals import sign
from scripts.comparison.store import Result
from transforms.vocabulary import is_lesion

Bounds = tuple[float, float]


@dataclass(frozen=True)
class BoundaryRow:
    """Boundary scores of a model, and their intervals."""

    title: str
    result: BoundaryResult
    scores: Mapping[str, float]
    intervals: Mapping[str, Bounds]


def boundary_rows(titles: Sequence[str], results: Sequence[Result], draws: int, seed: int) -> tuple[BoundaryRow, ...]:
    """Return rows with measured boundaries; none if they were measured differently."""
    known = [(t, r, r.boundaries) for t, r in zip(titles, results, strict=True) if r.boundaries is not None]
    if len({measured.basis for _, _, measured in known}) != 1:
        return ()
    return tuple(_row(title, result, measured, draws, seed) for title, result, measured in known)


def boundary_notes(results: Sequence[Result]) -> list[str]:
    """Return a sentence if the rows' boundaries are not compared because they were measured differently."""
    bases = sorted({result.boundaries.tolerance_text for result in results if result.boundaries is not None})
    if len(bases) < 2:
        return []
    return [f"Boundaries were measured with different tolerances and are not compared: {', '.join(bases)}."]


def _row(title: str, result: Result, measured: BoundaryResult, draws: int, seed: int) -> BoundaryRow:
    each = [other.boundaries.measures() for other in result.trainings if other.boundaries is not None]
    return BoundaryRow(
        title,
        measured,
        {name: float(np.mean([found[name].value for found in each])) for name in each[0]},
        {name: mean_interval([found[name] for found in each], draws, seed) for name in each[0]},
    )


def boundary_heading(rows: Sequence[BoundaryRow]) -> str:
    """Return the heading of the table."""
    if not rows:
        return ""
    result = rows[0].result
    unit = "mm" if result.unit == "mm" else "per cent of the height"
    return (
        f"Boundaries of {_of(result)}, mean over images: surface Dice and boundary IoU at {result.tolerance_text} in "
        f"per cent, 95th percentile of the Hausdorff distance in {unit}"
    )


def boundary_table(rows: Sequence[BoundaryRow]) -> list[list[str]]:
    """Return the table: names of the scores, then title and scores with intervals per row; empty without rows."""
    if not rows:
        return []
    table = [["Model", "Surface Dice", "Hausdorff 95", "Boundary IoU"]]
    for row in rows:
        names = [row.result.name(kind, _of(row.result)) for kind in KINDS]
        table.append([row.title, *(_cell(row, name, 1 if "hd95" in name else 100) for name in names)])
    return table


def boundary_record(row: BoundaryRow | None) -> dict[str, Any]:
    """Return every score with its interval as a flat dictionary."""
    record: dict[str, Any] = {}
    for name, value in {} if row is None else row.scores.items():
        low, high = row.intervals[name] if row else (math.nan, math.nan)
        record |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return record


def _of(result: BoundaryResult) -> str:
    """Return the class to show: the lesion, else the mean over the classes."""
    return next((name for name in result.classes if is_lesion(name)), MEAN)


def _cell(row: BoundaryRow, name: str, factor: float) -> str:
    value, (low, high) = factor * row.scores[name], row.intervals[name]
    if math.isnan(value):
        return "n/a"
    few = sign(len({image.subject for image in row.result.images}))
    return f"{value:.1f}" if math.isnan(low) else f"{value:.1f} [{factor * low:.1f}, {factor * high:.1f}]{few}"
