"""Rows of a comparison scored by published protocols, as one table (`--protocols`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engines.records.tables import write_csv
from engines.scoring.froc import Measure, mean_interval
from engines.scoring.intervals import sign
from engines.scoring.metrics import scores
from engines.scoring.protocols import PROTOCOLS, Protocol, measured
from scripts.comparison.store import Result
from scripts.comparison.table import Comparison, Extra
from transforms.errors import UserError

FILE = "protocols.csv"
HEADING = "The same predictions by other protocols, Dice of the lesion in per cent"
NOTES = (
    "Compare a number with that of a publication only by the same protocol. Crops, and thresholds chosen per image or "
    "lesion, require the truth and are not available for a new image. Pixel accuracy and means with the background "
    "are high even for a network that finds nothing.",
    "Split by image: only the thresholds may come from other images of the same woman, and images count as "
    "independent. The gain of a network trained on such images is not in these predictions: to see it, import with "
    "--split_by image and train again.",
)

Score = tuple[str, str, float, float, float]
"""Name, title, value, low, high."""


def with_protocols(comparisons: Sequence[Comparison], draws: int, seed: int, out: Path) -> list[Comparison]:
    """Add the tables of protocols to the comparisons, and write them to protocols.csv.

    Raises:
        UserError: no lesions were counted.
    """
    made, lines = [], []
    for comparison in comparisons:
        if not comparison.lesions:
            raise UserError(
                f"--protocols: {comparison.dataset}: no lesions were counted by a common rule, as lesion protocols "
                "require; omit --protocols, or give --dataset"
            )
        found = {row.title: protocol_scores(row.result, draws, seed) for row in comparison.rows if row.result}
        subjects = comparison.subjects
        extra = Extra(HEADING, tuple(map(tuple, _table(found, subjects))), _notes(found))
        made.append(replace(comparison, extra=(*comparison.extra, extra)))
        lines += [_record(comparison.dataset, title, score) for title, each in found.items() for score in each]
    write_csv(out / FILE, lines)
    return made


def protocol_scores(result: Result, draws: int, seed: int) -> list[Score]:
    """Score a row by every protocol, as means over its trainings; NaN if its results lack the required data."""
    found = [_of_lesions(protocol, result, draws, seed) for protocol in PROTOCOLS]
    return [*found, _accuracy(result, draws, seed), _with_background(result)]


def _of_lesions(protocol: Protocol, result: Result, draws: int, seed: int) -> Score:
    each = [measured(protocol, one.lesions.images) for one in result.trainings if one.lesions is not None]
    known = [measure for measure in each if measure is not None]
    if not known or len(known) < len(result.trainings):
        return protocol.name, protocol.title, math.nan, math.nan, math.nan
    value = float(np.mean([measure.value for measure in known]))
    return protocol.name, protocol.title, value, *mean_interval(known, draws, seed)


def _accuracy(result: Result, draws: int, seed: int) -> Score:
    each = []
    for one in result.trainings:
        matrices = np.stack([one.subjects[subject] for subject in sorted(one.subjects)]).astype(np.float64)
        each.append(Measure(np.trace(matrices, axis1=1, axis2=2), matrices.sum(axis=(1, 2))))
    value = float(np.mean([measure.value for measure in each]))
    return "pixel_accuracy", "Pixel accuracy, no Dice", value, *mean_interval(each, draws, seed)


def _with_background(result: Result) -> Score:
    values = [scores(np.sum(list(one.subjects.values()), axis=0))["mean_dice"] for one in result.trainings]
    title = "Mean Dice of all classes, the background included"
    return "mean_with_background", title, float(np.mean(values)), math.nan, math.nan


def _table(found: dict[str, list[Score]], subjects: int) -> list[list[str]]:
    """Return a table with a line per protocol and a column per row."""
    names = [(name, title) for name, title, *_ in next(iter(found.values()))]
    lines = [
        [title, *(_cell(each[number], subjects) for each in found.values())] for number, (_, title) in enumerate(names)
    ]
    return [["Protocol", *found], *lines]


def _cell(score: Score, subjects: int) -> str:
    value, low, high = score[2:]
    if math.isnan(value):
        return "n/a"
    return f"{100 * value:.1f}" + ("" if math.isnan(low) else f" [{100 * low:.1f}, {100 * high:.1f}]{sign(subjects)}")


def _notes(found: dict[str, list[Score]]) -> tuple[str, ...]:
    old = any(name.startswith("crop") and math.isnan(value) for each in found.values() for name, _, value, *_ in each)
    remark = (
        "Crops are n/a: some results are from a version without crops; evaluate again, or resume with this version."
    )
    return (*NOTES, remark) if old else NOTES


def _record(dataset: str, title: str, score: Score) -> dict[str, Any]:
    name, _, *values = score
    row = {"dataset": dataset, "model": title, "protocol": name}
    numbers = dict(zip(("dice", "low", "high"), values, strict=True))
    return {**row, **{key: None if math.isnan(value) else value for key, value in numbers.items()}}
