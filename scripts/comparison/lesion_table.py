"""Lesion scores of a comparison's rows: sensitivities and Dice, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engines.scoring.froc import Measure, mean_interval
from engines.scoring.intervals import sign
from engines.scoring.lesion_files import LesionResult, point_numbers, point_sentence
from scripts.comparison.store import Result

COLUMNS = {
    "lesion_sensitivity_at_0.25fp": "Found at 0.25 FP",
    "lesion_sensitivity_at_0.5fp": "0.5 FP",
    "lesion_sensitivity_at_1fp": "1 FP",
    "lesion_sensitivity_at_2fp": "2 FP",
    "subject_sensitivity_at_1fp": "Subjects at 1 FP",
    "lesion_dice": "Dice",
    "mean_image_dice": "Mean Dice per image",
    "mean_lesion_dice": "per lesion",
}
FOLD_COLUMNS = {"lesion_sensitivity_at_1fp": "Folds: 1 FP", "mean_image_dice": "Folds: Dice per image"}


@dataclass(frozen=True)
class LesionRow:
    """Lesion scores of a model and their intervals; `folds` has mean and standard deviation over the folds, if any."""

    title: str
    result: LesionResult
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    folds: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def lesion_rows(titles: Sequence[str], results: Sequence[Result], draws: int, seed: int) -> tuple[LesionRow, ...]:
    """Return the rows with counted lesions; none if rows were counted by different rules."""
    pairs = [(title, result, result.lesions) for title, result in zip(titles, results, strict=True) if result.lesions]
    if len({lesions.basis for _, _, lesions in pairs if lesions}) != 1:
        return ()
    return tuple(_row(title, result, lesions, draws, seed) for title, result, lesions in pairs if lesions)


def shown_title(row: LesionRow) -> str:
    """Return the model's name, marked if its masks are those of a threshold."""
    return row.title if row.result.point is None else f"{row.title}, threshold"


def lesion_notes(results: Sequence[Result], rows: Sequence[LesionRow]) -> list[str]:
    """Return sentences on how lesions were counted, or why they are not compared."""
    counted = [result.lesions for result in results if result.lesions]
    if not rows:
        rules = sorted({f"{', '.join(le.classes)}: {le.rule}" for le in counted})
        return [f"Lesions were counted by different rules and are not compared: {'; '.join(rules)}."] if rules else []
    first = rows[0].result
    lesions = sum(len(image.counted) for image in first.images)
    words = [
        f"Lesions ({', '.join(first.classes)}): {lesions} in {len(first.images)} images; a hit is: {first.rule.text}; "
        "FP: false positives per image. Thresholds stay fixed in the bootstrap samples."
    ]
    if first.rule.min_lesion_size:
        void = sum(lesion.void for image in first.images for lesion in image.lesions)
        words.append(f"{void} lesions of fewer than {first.rule.min_lesion_size} pixels are void.")
    words += _point_notes(rows)
    if any(row.result.point is not None for row in rows):
        words.append("Thresholds only apply to masks in the lesion table; all other tables use the most likely class.")
    masks = [result.model.title for result in results if result.lesions and result.from_masks]
    if masks:
        words.append(
            f"No probability maps: {', '.join(masks)}. Their candidates are the regions of their masks, a single point "
            "instead of a curve: in columns that allow fewer false positives, nothing is found."
        )
    missing = len(results) - len(counted)
    return words + ([f"{missing} rows are from a version without lesion counts."] if missing else [])


def _point_notes(rows: Sequence[LesionRow]) -> list[str]:
    """Describe the operating points, in one sentence for those of the same rule and choice."""
    groups: dict[tuple[str, str], list[LesionRow]] = {}
    for row in rows:
        if row.result.point is not None:
            groups.setdefault((row.result.point["rule"], row.result.point["chosen_on"]), []).append(row)
    words = []
    for (rule, chosen_on), group in groups.items():
        points = [(row.title, row.result.point) for row in group if row.result.point is not None]
        if len(points) == 1:
            words += [f"{title}: {point_sentence(point)}" for title, point in points]
            continue
        numbers = [(title, *point_numbers(point)) for title, point in points]
        each = "; ".join(f"{title}: {low if low == score else f'{low} and {score}'}" for title, low, score in numbers)
        words.append(
            "Masks are where the probability reaches a threshold; candidates need a smallest score (the same number if "
            f"only one is given), by rule {rule}, chosen on {chosen_on}. {each}."
        )
    return words


def lesion_table(rows: Sequence[LesionRow]) -> list[list[str]]:
    """Return the table: names of the scores, then title and scores with intervals in per cent; empty without rows."""
    if not rows:
        return []
    folds = FOLD_COLUMNS if any(row.folds for row in rows) else {}
    table = [["Model", *COLUMNS.values(), *folds.values()]]
    for row in rows:
        cells = [_cell(row, name) for name in COLUMNS]
        spread = [row.folds.get(name, (math.nan, math.nan)) for name in folds]
        table.append([shown_title(row), *cells, *(f"{_percent(mean)} ± {_percent(sd)}" for mean, sd in spread)])
        if row.result.point is not None and "mean_image_dice_argmax" in row.scores:
            table.append(_without_threshold(row, len(folds)))
    return table


def _without_threshold(row: LesionRow, folds: int) -> list[str]:
    """Return the scores that depend on the threshold, without it."""
    plain = {"lesion_dice": "lesion_dice_argmax", "mean_image_dice": "mean_image_dice_argmax"}
    cells = [_cell(row, plain[n]) if n in plain else "" for n in COLUMNS]
    return [f"{row.title}, most likely class", *cells, *[""] * folds]


def lesion_record(row: LesionRow | None) -> dict[str, Any]:
    """Return every score with its interval as a flat dictionary."""
    if row is None:
        return {}
    record: dict[str, Any] = {}
    for name, value in row.scores.items():
        low, high = row.intervals[name]
        record |= {name: value, f"{name}_low": low, f"{name}_high": high}
    for name, (mean, deviation) in row.folds.items():
        record |= {f"{name}_fold_mean": mean, f"{name}_fold_sd": deviation}
    return record


def _row(title: str, result: Result, lesions: LesionResult, draws: int, seed: int) -> LesionRow:
    each = [_measures(lesions), *(_measures(other.lesions) for other in result.seeds if other.lesions)]
    measures = {name: [found[name] for found in each if name in found] for name in each[0]}
    folds: dict[str, tuple[float, float]] = {}
    if len(result.lesion_folds) > 1:
        counted = [training.lesion_folds for training in result.trainings if training.lesions]
        of_folds = [[_measures(fold) for fold in same] for same in zip(*counted, strict=True)]
        for name in FOLD_COLUMNS:
            values = np.array([np.mean([fold[name].value for fold in same]) for same in of_folds])
            known = values[~np.isnan(values)]  # a fold without lesions has no score
            folds[name] = (float(known.mean()), float(known.std(ddof=1))) if len(known) > 1 else (math.nan, math.nan)
    return LesionRow(
        title,
        lesions,
        {name: float(np.mean([measure.value for measure in same])) for name, same in measures.items()},
        {name: mean_interval(same, draws, seed) for name, same in measures.items()},
        folds,
    )


def _measures(lesions: LesionResult) -> dict[str, Measure]:
    """Return all scores, with the Dice per image named without classes."""
    return {
        name.partition("/")[0] if name.startswith("mean_image_dice") else name: measure
        for name, measure in lesions.measures().items()
    }


def _cell(row: LesionRow, name: str) -> str:
    value, bounds = row.scores[name], row.intervals[name]
    few = sign(len({image.subject for image in row.result.images}))
    interval = "" if math.isnan(bounds[0]) else f" [{_percent(bounds[0])}, {_percent(bounds[1])}]{few}"
    return _percent(value) + interval


def _percent(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{100 * value:.1f}"
