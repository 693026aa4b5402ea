"""Width of a score's interval with fewer or more subjects scored (`--subjects_curve`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from engines.scoring.intervals import interval, widening
from scripts.comparison.froc_chart import COLORS
from scripts.comparison.metric import default_metric, lower_is_better, verdict_rows
from scripts.comparison.table import Comparison, Extra
from scripts.verdict.row import Row, Values

HEADING = "Width of the 95 % interval by number of subjects"
LEAST, PARTS = 8, 6
SUBSETS, DRAWS = 40, 200
MORE = (2, 4)
"""Factors on the number of subjects to which the width is extrapolated."""


@dataclass(frozen=True)
class Width:
    """Interval width for one row, or for the difference of the two best.

    Attributes:
        subjects: number of subjects scored.
        width: width of the interval, mean over subsets of this number of subjects.
        low, high: 5th and 95th percentile over the subsets; equal to the width with at most one subset.
        measured: whether measured on subsets of the subjects, or else extrapolated from all subjects.
    """

    title: str
    subjects: int
    width: float
    low: float
    high: float
    measured: bool


def with_subjects_curve(
    comparisons: Sequence[Comparison], seed: int, metric: str | None = None
) -> tuple[list[Comparison], list[list[Width]]]:
    """Add a table of widths to the comparisons; return them and their widths.

    Raises:
        UserError: a row does not have the score.
    """
    made, curves = [], []
    for comparison in comparisons:
        score = metric or default_metric(comparison.classes)
        found = widths(comparison, score, seed)
        lines = tuple(map(tuple, _table(found, 1 if lower_is_better(score) else 100)))
        made.append(replace(comparison, extra=(*comparison.extra, Extra(f"{HEADING}: {score}", lines, NOTES))))
        curves.append(found)
    return made, curves


NOTES = (
    "Over subjects only. Up to all subjects: mean over subsets; beyond (marked >): extrapolated, as the width is "
    "inversely proportional to the square root of the number: four times as many subjects halve it.",
)


def widths(comparison: Comparison, metric: str, seed: int) -> list[Width]:
    """Return widths for every row, and for the difference of the two best, by number of subjects."""
    titles = [row.title for row in comparison.rows if row.result is not None]
    rows = verdict_rows(titles, [row.result for row in comparison.rows if row.result is not None], metric)
    rows = [row for row in rows if not np.isnan(row.values()).any()]
    number = comparison.subjects
    if not rows or number < LEAST:
        return []
    sign = -1 if lower_is_better(metric) else 1
    best = sorted(rows, key=lambda row: -sign * float(row.values().mean()))[:2]
    sizes = sorted({round(size) for size in np.geomspace(LEAST, number, PARTS)})
    found: list[Width] = []
    for row in rows:
        found += _of(row.title, [row], sizes, number, seed)
    if len(best) == 2:
        found += _of(f"{best[0].title} less {best[1].title}", best, sizes, number, seed)
    return found


def _of(title: str, rows: Sequence[Row], sizes: Sequence[int], number: int, seed: int) -> list[Width]:
    rng, found = np.random.default_rng(seed), []
    for size in sizes:
        subsets = 1 if size == number else SUBSETS
        draws = 1000 if subsets == 1 else DRAWS
        each = [_width(rows, rng.permutation(number)[:size], rng, draws) for _ in range(subsets)]
        known = [width for width in each if not math.isnan(width)]
        if known:
            low, high = np.percentile(known, [5, 95])
            found.append(Width(title, size, float(np.mean(known)), float(low), float(high), True))
    last = found[-1] if found else None
    for times in MORE if last is not None and last.subjects == number else ():
        width = last.width * widening(times * number) / widening(number) / math.sqrt(times) if last else math.nan
        found.append(Width(title, times * number, width, width, width, False))
    return found


def _width(rows: Sequence[Row], chosen: np.ndarray, rng: np.random.Generator, draws: int) -> float:
    """Return the width of the interval of a score, or of the difference of two, over some subjects."""
    size = len(chosen)
    times = rng.multinomial(size, np.full(size, 1 / size), size=draws).astype(np.float64)
    samples, values = np.zeros(draws), 0.0
    for row, factor in zip(rows, (1, -1), strict=False):
        some = Row(row.title, row.numerator[:, chosen], row.denominator[:, chosen])
        samples = samples + factor * some.drawn(times).mean(axis=0)
        values += factor * float(some.values().mean())
    if np.isnan(samples).all() or math.isnan(values):
        return math.nan
    if len(rows) == 1:
        low, high = interval(samples, values, size, rows[0].largest)
        return float(high - low)
    # a difference may be negative
    low, high = np.nanpercentile(widening(size) * (samples - values), [2.5, 97.5])
    return float(high - low)


def _table(found: Sequence[Width], factor: float) -> list[list[str]]:
    """Return a table with a line per row and a column per number of subjects; empty without widths."""
    if not found:
        return []
    titles = dict.fromkeys(width.title for width in found)
    measured = {width.subjects: width.measured for width in found}
    numbers = sorted(measured)
    cells = {(width.title, width.subjects): f"{factor * width.width:.1f}" for width in found}
    head = ["Model", *(str(n) if measured[n] else f">{n}" for n in numbers)]
    return [head, *([title, *(cells.get((title, n), "") for n in numbers)] for title in titles)]


def width_records(found: Sequence[Width], dataset: str) -> list[dict[str, Any]]:
    """Return the lines of subjects.csv, with widths as fractions."""
    return [{"dataset": dataset, **vars(width)} for width in found]


def width_chart(found: Sequence[Width], heading: str, factor: float = 100) -> Figure:
    """Plot widths against number of subjects on logarithmic axes, with the extrapolation dashed."""
    figure = Figure(figsize=(7.2, 4.4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for number, title in enumerate(dict.fromkeys(width.title for width in found)):
        mine = [width for width in found if width.title == title]
        known = [width for width in mine if width.measured]
        color = COLORS[number % len(COLORS)]
        axes.plot(*_line(known, factor), color=color, marker="o", markersize=3, label=title)
        axes.plot(*_line(mine[len(known) - 1 :], factor), color=color, linestyle="--", linewidth=1)
        low, high = (factor * np.array([getattr(width, name) for width in known]) for name in ("low", "high"))
        axes.fill_between([width.subjects for width in known], low, high, color=color, alpha=0.12, linewidth=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    numbers = sorted({width.subjects for width in found})
    axes.set_xticks(numbers, [str(number) for number in numbers])
    axes.set_xticks([], minor=True)
    ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100) if _inside(tick, axes.get_ylim())]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.set_xlabel("subjects scored")
    axes.set_ylabel("width of the 95 % interval, points" if factor == 100 else "width of the 95 % interval")
    axes.set_title(f"{heading}\nbands: 90 % of subsets; dashed: extrapolated", fontsize=9)
    axes.legend(fontsize=8)
    return figure


def _inside(tick: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= tick <= limits[1]


def _line(mine: Sequence[Width], factor: float) -> tuple[list[int], Values]:
    return [width.subjects for width in mine], factor * np.array([width.width for width in mine])
