"""FROC curves of the models of one data set, with bands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from engines.scoring.froc import RATES, Froc
from scripts.comparison.lesion_table import LesionRow

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#000000")
"""Okabe and Ito's palette, distinguishable with every kind of color vision."""

STYLES = ("-", "--", ":")
LIMIT = 4.0
"""Largest number of false positives per image in the chart."""


def froc_chart(rows: Sequence[LesionRow], heading: str, draws: int, seed: int) -> Figure:
    """Plot sensitivity against false positives per image; bands are 95 % intervals over subjects."""
    lines = -(-len(rows) // 2)
    figure = Figure(figsize=(7.2, 4.8 + 0.2 * lines), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for number, row in enumerate(rows):
        froc = Froc(row.result.images)
        low, high = froc.bands(draws, seed)
        x = np.concatenate([[0.0], froc.false_positives_per_image, [LIMIT]])
        color, style = COLORS[number % len(COLORS)], STYLES[number // len(COLORS) % len(STYLES)]
        axes.step(x, _extended(froc.sensitivity), where="post", color=color, linestyle=style, label=row.title)
        bounds = (_extended(low), _extended(high))
        axes.fill_between(x, *bounds, step="post", color=color, alpha=0.12, linewidth=0)
    for rate in RATES:
        axes.axvline(rate, color="#888888", linewidth=0.6, linestyle=":", zorder=0)
    axes.set_xlim(0, LIMIT)
    axes.set_ylim(0, 102)
    axes.set_xlabel("false positives per image")
    axes.set_ylabel("lesions found, per cent")
    axes.set_title(f"{heading}\nbands: 95 % intervals over subjects", fontsize=9)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def _extended(values: np.ndarray) -> np.ndarray:
    """Convert to per cent, starting at 0 without candidates and extending the last value."""
    known = np.nan_to_num(values)
    return 100 * np.concatenate([[0.0], known, [known[-1] if len(known) else 0.0]])
