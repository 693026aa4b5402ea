"""The paper's table (Tables 9 and 10) as text."""

from __future__ import annotations

import math
from collections.abc import Mapping

TITLES = {
    "pixel_accuracy": "Pixel accuracy",
    "mean_iou": "Mean IoU",
    "mean_class_accuracy": "Mean class accuracy",
}


def score_table(rows: Mapping[str, Mapping[str, float]], title: str) -> str:
    """Rows (name → scores) in the paper's three columns, in per cent; `n/a` where a score is NaN."""
    first = max(len("Model"), *(len(name) for name in rows))
    lines = [title, "", f"{'Model':<{first}}  " + "  ".join(TITLES.values())]
    lines.append("-" * len(lines[-1]))
    for name, scores in rows.items():
        cells = (_percent(scores.get(key, math.nan)).rjust(len(head)) for key, head in TITLES.items())
        lines.append(f"{name:<{first}}  " + "  ".join(cells))
    return "\n".join(lines)


def class_table(scores: Mapping[str, float]) -> str:
    """IoU and Dice of each class by name, in per cent."""
    names = [key[len("iou/") :] for key in scores if key.startswith("iou/")]
    first = max(len("Class"), *(len(name) for name in names))
    lines = [f"{'Class':<{first}}     IoU    Dice"]
    lines.append("-" * len(lines[-1]))
    for name in names:
        lines.append(f"{name:<{first}}  {_percent(scores[f'iou/{name}']):>6}  {_percent(scores[f'dice/{name}']):>6}")
    counted = sum(not math.isnan(scores[f"iou/{name}"]) for name in names)
    lines.append(f"means are over the {counted} of {len(names)} classes that occur")
    return "\n".join(lines)


def _percent(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{100 * value:.2f}"
