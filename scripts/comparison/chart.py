"""Bar chart of one data set: the paper's Figures 5 and 6, with intervals."""

from __future__ import annotations

import math
from textwrap import wrap

import numpy as np
from matplotlib.figure import Figure

from engines.records.score_table import TITLES
from engines.scoring.metrics import PAPER_METRICS
from scripts.comparison.table import Comparison

COLOURS = dict(zip(PAPER_METRICS, ("#0072B2", "#E69F00", "#009E73"), strict=True))
"""Okabe and Ito's palette, distinguishable with every kind of color vision."""
LETTERS = 14
"""Number of letters per line of a model's name below its bars."""


def column_chart(comparison: Comparison) -> Figure:
    """Plot three bars per model, from 0 to 100 per cent, with 95 % intervals; the dashed line is class 0 everywhere."""
    rows = comparison.rows
    figure = Figure(figsize=(max(4.8, 1.6 + 1.1 * len(rows)), 4.2), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    positions = np.arange(len(rows))
    for number, name in enumerate(PAPER_METRICS):
        offset = (number - 1) * 0.27
        values = np.array([100 * row.scores[name] for row in rows])
        bounds = np.array([row.intervals.get(name, (math.nan, math.nan)) for row in rows]) * 100
        whiskers = np.nan_to_num(np.clip(np.stack([values - bounds[:, 0], bounds[:, 1] - values]), 0, None))
        axes.bar(
            positions + offset, np.nan_to_num(values), 0.25, yerr=whiskers, color=COLOURS[name], label=TITLES[name],
            error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "#333333"},
        )  # fmt: skip
        for position, value, up in zip(positions + offset, values, whiskers[1], strict=True):
            text = "n/a" if math.isnan(value) else f"{value:.0f}"
            axes.text(position, np.nan_to_num(value) + up + 1, text, ha="center", va="bottom", fontsize=7)
    axes.axhline(
        100 * comparison.trivial.scores["mean_iou"], color=COLOURS["mean_iou"], linestyle="--", linewidth=1,
        zorder=0, label=f"Mean IoU of {comparison.trivial.title}",
    )  # fmt: skip
    axes.set_xticks(positions, ["\n".join(wrap(row.title, LETTERS)) for row in rows], fontsize=8)
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.set_ylim(0, 108)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("per cent")
    axes.set_title(f"{comparison.heading}\nwhiskers: 95 % intervals over subjects", fontsize=9)
    figure.legend(loc="outside lower center", ncols=2 if len(rows) < 5 else 4, fontsize=8, frameon=False)
    return figure
