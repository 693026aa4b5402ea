"""Charts of one result as PNG files: confusion matrix, and scores per class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from engines.base.world import is_main

MAX_CELLS_WITH_TEXT = 20 * 20


def confusion_figure(confusion: ArrayLike, class_names: Sequence[str], title: str) -> Figure:
    """Plot a (C, C) matrix of counts (rows = truth) in percent of each true class; absent classes have blank rows."""
    matrix = np.asarray(confusion, dtype=np.float64)
    rows = matrix.sum(axis=1, keepdims=True)
    percent = np.divide(100 * matrix, rows, out=np.full(matrix.shape, np.nan), where=rows > 0)
    count = len(class_names)
    side = 2.6 + 0.45 * count
    figure = Figure(figsize=(side + 1, side), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(percent, cmap="cividis", vmin=0, vmax=100)
    axes.set_xticks(range(count), [_short(name) for name in class_names], rotation=45, ha="right")
    axes.set_yticks(range(count), [_short(name) for name in class_names])
    axes.set_xlabel("prediction")
    axes.set_ylabel("truth")
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, label="% of the true class")
    if percent.size <= MAX_CELLS_WITH_TEXT:
        for row, column in np.argwhere(~np.isnan(percent)):
            value = percent[row, column]
            shade = "black" if value > 55 else "white"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=shade)
    return figure


def class_figure(scores: Mapping[str, float], class_names: Sequence[str], title: str) -> Figure:
    """Plot IoU and Dice of each class as bars from 0 to 100 %; "n/a" for a class in neither truth nor prediction."""
    count = len(class_names)
    figure = Figure(figsize=(6.4, 1.4 + 0.45 * count), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    positions = np.arange(count)
    for kind, offset, colour in (("iou", -0.19, "#0072B2"), ("dice", 0.19, "#E69F00")):
        values = [100 * scores[f"{kind}/{name}"] for name in class_names]
        shown = [0.0 if math.isnan(value) else value for value in values]
        axes.barh(positions + offset, shown, 0.36, color=colour, label="IoU" if kind == "iou" else "Dice")
        for position, value in zip(positions, values, strict=True):
            text = "n/a" if math.isnan(value) else f"{value:.1f}"
            axes.text(0 if math.isnan(value) else value, position + offset, f" {text}", va="center", fontsize=7)
    axes.set_yticks(positions, [_short(name) for name in class_names])
    axes.invert_yaxis()
    axes.set_xlim(0, 108)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("%")
    axes.set_title(title, fontsize=10)
    axes.legend(loc="lower right", fontsize=8)
    return figure


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a PNG file without time stamps. Only the first of several processes writes."""
    if not is_main():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})
    return path


def save_vector(figure: Figure, path: Path) -> Path:
    """Like `save_figure`, but as an SVG or PDF file, according to its ending."""
    if is_main():
        path.parent.mkdir(parents=True, exist_ok=True)
        with rc_context({"svg.hashsalt": "mammoseg", "svg.fonttype": "none", "pdf.fonttype": 42}):
            date = "CreationDate" if path.suffix == ".pdf" else "Date"
            figure.savefig(path, metadata={date: None})
    return path


def _short(name: str, length: int = 22) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
