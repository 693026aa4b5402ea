"""Sections of a shared README: lesions, results on other data, options as run."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.records.evaluation_record import NOT_OPTIONS
from engines.records.trained_model import DIGEST
from scripts.sharing.trained import Trained

MEANS = {
    "pixel_accuracy": "pixel accuracy",
    "mean_iou": "mean IoU",
    "mean_class_accuracy": "mean class accuracy",
    "mean_dice": "mean Dice",
}
LESIONS = {
    **{
        f"lesion_sensitivity_at_{n}fp": f"lesions found at {n} false positives per image"
        for n in ("0.25", "0.5", "1", "2")
    },
    "subject_sensitivity_at_1fp": "subjects found at 1 false positive per image",
    "lesion_dice": "Dice of all lesion pixels",
    "mean_lesion_dice": "mean Dice per lesion",
}


def results(trained: Trained) -> str:
    """Return lesions found on the validation subjects, and the results of every evaluation of these weights."""
    folder = trained.weights.parents[1] / "eval"
    own = _lesions(folder)
    text = f"### Lesions, validation part of {trained.settings['dataset']}\n\n{own}" if own else ""
    for path in sorted(folder.glob("*/evaluation.json")):
        text += _evaluation(path, trained)
    return text


def options_as_run(trained: Trained) -> str:
    """Return all options of the training that have a value."""
    left_out = {*NOT_OPTIONS, DIGEST, "loss_parameters", "operating_point"}
    chosen = {k: v for k, v in trained.settings.items() if k not in left_out and v is not None and v != ""}
    lines = "".join(f"| `{name}` | {_cell(value)} |\n" for name, value in chosen.items())
    return f"## Options as run\n\n| option | value |\n|---|---|\n{lines}\n" if lines else ""


def _evaluation(path: Path, trained: Trained) -> str:
    record = _read(path)
    training, data = record.get("training", {}), record.get("data", {})
    if training.get(DIGEST) != trained.settings.get(DIGEST) or not data:
        return ""
    rows = {row["model"]: row for row in _rows(path.parent / "scores.csv")}
    row = rows.get(str(training.get("stage")), {})
    means = {title: _number(row.get(key)) for key, title in MEANS.items()}
    classes = {name: [_number(row.get(f"{kind}/{name}")) for kind in ("iou", "dice")] for name in trained.classes}
    return (
        f"### Results on the {data['section']} part of {data['dataset']}\n\n"
        f"| {' | '.join(means)} |\n|{'---|' * len(means)}\n| {' | '.join(_percent(v) for v in means.values())} |\n\n"
        "| class | IoU | Dice |\n|---|---|---|\n"
        + "".join(f"| {name} | {_percent(iou)} | {_percent(dice)} |\n" for name, (iou, dice) in classes.items())
        + f"\n{_lesions(path.parent)}"
    )


def _lesions(folder: Path) -> str:
    """Return the table of lesion_scores.csv; empty if no class is a lesion."""
    found = {
        row["score"]: [_number(row[key]) for key in ("value", "low", "high")]
        for row in _rows(folder / "lesion_scores.csv")
    }
    lines = [
        f"| {title} | {_percent(found[key][0])} | {_percent(found[key][1])} to {_percent(found[key][2])} |\n"
        for key, title in LESIONS.items()
        if key in found
    ]
    return (
        "| lesions, per cent | | 95 % interval over subjects |\n|---|---|---|\n" + "".join(lines) + "\n"
        if lines
        else ""
    )


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _read(path: Path) -> Mapping[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _number(text: str | None) -> float:
    return float(text) if text else math.nan


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "`" + text.replace("|", "\\|").replace("`", "'").replace("\n", " ") + "`"
