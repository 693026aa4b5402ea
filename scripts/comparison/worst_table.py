"""Where the rows of a comparison fail: images, or subjects, worst cases first, and why."""

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
"""Lines of the page; worst.csv has all."""

WRONG = 0.25
"""Share of a class's pixels from which on taking them for one other class is named."""


@dataclass(frozen=True)
class Failure:
    """One image of one row; where no lesions were counted, one subject.

    Attributes:
        case: name of the image or subject.
        reason: what is wrong; empty if nothing is.
        missed, false: lesions that were not found, candidates that hit nothing; None without lesions.
        score: Dice of the lesion, or the subject's mean IoU; NaN where there is none.
        order: to sort by, the worst first.
    """

    case: str
    model: str
    reason: str
    missed: int | None
    false: int | None
    score: float
    order: tuple[float, ...]


def failures(comparison: Comparison) -> list[Failure]:
    """Every image of every row, the worst first; those of seeds beyond the first are left out."""
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
    """The class of which most pixels were taken for one other, if that is a quarter or more; empty if none is.

    Args:
        matrix: confusion matrix (rows = truth).
        but: classes that are not looked at.
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
    """Row and subject → what other classes than the lesion were taken for."""
    found = {}
    lesions = {name for row in comparison.lesions for name in row.result.classes}
    for row in comparison.rows:
        for subject, matrix in row.result.subjects.items() if row.result else ():
            found[row.title, subject] = wrong_class(matrix, comparison.classes, tuple(lesions))
    return found


def failure_table(found: Sequence[Failure]) -> list[list[str]]:
    """The worst lines of each row; empty where nothing is wrong."""
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
    """Lines of worst.csv."""
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
    """Case → mean of what its rows are sorted by: small is bad."""
    each: dict[str, list[tuple[float, ...]]] = {}
    for failure in found:
        each.setdefault(failure.case, []).append(failure.order)
    return {case: tuple(sum(part) / len(part) for part in zip(*orders, strict=True)) for case, orders in each.items()}


def case_remarks(found: Sequence[Failure], case: str) -> list[str]:
    """What is wrong with a picture, row by row."""
    return [
        f"{failure.model}: {failure.reason or 'nothing to say'}"
        + ("" if math.isnan(failure.score) else f" ({'IoU' if failure.missed is None else 'Dice'} {_number(failure)})")
        for failure in found
        if failure.case == case
    ]


def _number(failure: Failure) -> str:
    return "" if math.isnan(failure.score) else f"{100 * failure.score:.1f}"
