"""Failures of a comparison's rows: images or subjects, worst cases first, with reasons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.scoring.metrics import scores
from engines.scoring.worst_cases import badness, false_positives, missed, reason
from scripts.comparison.lesion_table import shown_title
from scripts.comparison.table import Comparison

HEADING = "Worst cases first"
SHOWN = 20
"""Number of lines per row on the page; worst.csv has all."""

WRONG = 0.25
"""Smallest fraction of a class's pixels, predicted as one other class, that is reported."""


@dataclass(frozen=True)
class Failure:
    """One image of one row or, without counted lesions, one subject.

    Attributes:
        case: name of the image or subject.
        reason: kinds of error; empty if there are none.
        missed, false: number of missed lesions and of false positives; None without lesions.
        score: Dice of the lesion, or mean IoU of the subject; NaN if undefined.
        order: sort key, the worst first.
    """

    case: str
    model: str
    reason: str
    missed: int | None
    false: int | None
    score: float
    order: tuple[float, ...]


def failures(comparison: Comparison) -> list[Failure]:
    """Return all images of all rows, the worst first, using only the first seed."""
    found = []
    if comparison.lesions:
        wrong = _wrong_classes(comparison)
        for row in comparison.lesions:
            for image in row.result.images:
                why = [reason(image), wrong.get((row.title, image.subject), "")]
                dice = math.nan if image.dice is None else image.dice
                counts, title = (missed(image), false_positives(image)), shown_title(row)
                text = ", ".join(filter(None, why))
                found.append(Failure(image.case, title, text, *counts, dice, badness([image])))
    else:
        for each in comparison.rows:
            for subject, matrix in each.result.subjects.items() if each.result else ():
                iou = scores(matrix)["mean_iou"]
                why_not = wrong_class(matrix, comparison.classes)
                order = (math.inf if math.isnan(iou) else iou,)
                found.append(Failure(subject, each.title, why_not, None, None, iou, order))
    return sorted(found, key=lambda failure: (failure.order, failure.case))


def wrong_class(matrix: NDArray[np.int64], classes: Sequence[str], but: Sequence[str] = ()) -> str:
    """Describe the class with the largest fraction of pixels predicted as one other class; empty if below `WRONG`.

    Args:
        matrix: confusion matrix (rows = truth).
        but: classes to ignore.
    """
    skipped = [number for number, name in enumerate(classes) if name in but]
    counts = np.array(matrix, np.float64)
    shares = np.divide(counts, counts.sum(axis=1, keepdims=True), out=np.zeros_like(counts), where=counts > 0)
    np.fill_diagonal(shares, 0)
    shares[skipped], shares[:, skipped] = 0, 0
    truth, taken = np.unravel_index(int(np.argmax(shares)), shares.shape)
    share = float(shares[truth, taken])
    if share < WRONG:
        return ""
    return f"wrong class: {100 * share:.0f} % of {classes[int(truth)]} taken for {classes[int(taken)]}"


def _wrong_classes(comparison: Comparison) -> dict[tuple[str, str], str]:
    """Return confusions between classes other than lesions: row and subject → description."""
    found = {}
    lesions = {name for row in comparison.lesions for name in row.result.classes}
    for row in comparison.rows:
        for subject, matrix in row.result.subjects.items() if row.result else ():
            found[row.title, subject] = wrong_class(matrix, comparison.classes, tuple(lesions))
    return found


def failure_table(found: Sequence[Failure]) -> list[list[str]]:
    """Return a table of the worst lines of each row; empty without errors."""
    shown = [failure for failure in found if failure.reason]
    kept: dict[str, int] = {}
    lines = []
    for failure in shown:
        kept[failure.model] = kept.get(failure.model, 0) + 1
        if kept[failure.model] <= SHOWN:
            lines.append(failure)
    if not lines:
        return []
    if lines[0].missed is None:
        return [["Subject", "Model", "Reason", "Mean IoU"], *([f.case, f.model, f.reason, _number(f)] for f in lines)]
    head = ["Image", "Model", "Reason", "Missed", "False", "Dice"]
    return [head, *([f.case, f.model, f.reason, str(f.missed), str(f.false), _number(f)] for f in lines)]


def failure_records(found: Sequence[Failure], dataset: str) -> list[dict[str, Any]]:
    """Return the lines of worst.csv."""
    return [
        {
            "dataset": dataset,
            "case": failure.case,
            "model": failure.model,
            "reason": failure.reason,
            "missed": failure.missed,
            "false": failure.false,
            "score": None if math.isnan(failure.score) else failure.score,
        }
        for failure in found
    ]


def case_order(found: Sequence[Failure]) -> dict[str, tuple[float, ...]]:
    """Return the mean sort key of each case over the rows: small is bad."""
    each: dict[str, list[tuple[float, ...]]] = {}
    for failure in found:
        each.setdefault(failure.case, []).append(failure.order)
    return {case: tuple(sum(part) / len(part) for part in zip(*orders, strict=True)) for case, orders in each.items()}


def case_remarks(found: Sequence[Failure], case: str) -> list[str]:
    """Describe the errors in a case, per row."""
    return [
        f"{failure.model}: {failure.reason or 'nothing to say'}"
        + ("" if math.isnan(failure.score) else f" ({'IoU' if failure.missed is None else 'Dice'} {_number(failure)})")
        for failure in found
        if failure.case == case
    ]


def _number(failure: Failure) -> str:
    return "" if math.isnan(failure.score) else f"{100 * failure.score:.1f}"
