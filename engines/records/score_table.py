"""The paper's table (Tables 9 and 10) as text."""

from __future__ import annotations

import math
from collections.abc import Mapping

TITLES = {
    "pixel_accuracy": "Pixel accuracy",
    "mean_iou": "Mean IoU",
    "mean_class_accuracy": "Mean class accuracy",
}
"""The paper's three metrics with the names of their columns."""

MEAN_TITLES = {**TITLES, "mean_dice": "Mean Dice"}
CLASS_TITLES = {"iou": "IoU", "dice": "Dice", "sensitivity": "Sens.", "specificity": "Spec.", "precision": "Prec."}


def score_table(rows: Mapping[str, Mapping[str, float]], title: str) -> str:
    """Return rows (name → scores) in the paper's three columns, in percent; `n/a` where a score is NaN."""
    first = max(len("Model"), *(len(name) for name in rows))
    lines = [title, "", f"{'Model':<{first}}  " + "  ".join(TITLES.values())]
    lines.append("-" * len(lines[-1]))
    for name, scores in rows.items():
        cells = (_percent(scores.get(key, math.nan)).rjust(len(head)) for key, head in TITLES.items())
        lines.append(f"{name:<{first}}  " + "  ".join(cells))
    return "\n".join(lines)


def class_table(scores: Mapping[str, float]) -> str:
    """Return a table of the scores of each class by name, in percent."""
    names = [key[len("iou/") :] for key in scores if key.startswith("iou/")]
    first = max(len("Class"), *(len(name) for name in names))
    lines = [f"{'Class':<{first}}" + "".join(f"  {head:>6}" for head in CLASS_TITLES.values())]
    lines.append("-" * len(lines[-1]))
    for name in names:
        cells = (_percent(scores.get(f"{kind}/{name}", math.nan)) for kind in CLASS_TITLES)
        lines.append(f"{name:<{first}}" + "".join(f"  {cell:>6}" for cell in cells))
    counted = sum(not math.isnan(scores[f"iou/{name}"]) for name in names)
    lines.append(f"means are over the {counted} of {len(names)} classes that occur")
    rest = {"Mean Dice": "mean_dice", "frequency-weighted IoU": "frequency_weighted_iou"}
    lines.append(", ".join(f"{title} {_percent(scores.get(key, math.nan))}" for title, key in rest.items()))
    return "\n".join(lines)


def _percent(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{100 * value:.2f}"
