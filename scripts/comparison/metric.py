"""Score to compare rows by (`--metric`), as contributions of every subject."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines.scoring.metrics import CLASS_METRICS
from scripts.comparison.distances import undefined, without
from scripts.comparison.store import Result
from scripts.verdict.row import Row, Values
from transforms.errors import UserError
from transforms.plain_text import one_line
from transforms.vocabulary import is_lesion

MEANS = {"mean_iou": "iou", "mean_class_accuracy": "sensitivity", "mean_dice": "dice"}
"""Means over the classes → score of a class."""

Parts = tuple[Values, Values]


def default_metric(classes: Sequence[str]) -> str:
    """Return the Dice of the first lesion class; mean IoU if there is none."""
    lesions = [name for name in classes if is_lesion(name)]
    return f"dice/{lesions[0]}" if lesions else "mean_iou"


def lower_is_better(metric: str) -> bool:
    """Whether lower scores are better."""
    return "false_positives" in metric or "hd95" in metric


def verdict_rows(titles: Sequence[str], results: Sequence[Result], metric: str) -> list[Row]:
    """Return each row with all its trainings, for `scripts.verdict.statement.state`.

    Of several rows, Hausdorff distances are taken from the images in which all are defined: a row that misses
    the difficult lesions would be better otherwise.

    Raises:
        UserError: the score is unknown, or a row does not have it.
    """
    rows, largest = [], math.inf if lower_is_better(metric) else 1.0
    places = undefined(results) if "hd95" in metric and len(results) > 1 else set()
    for title, result in zip(titles, results, strict=True):
        parts = [_parts(without(each, places), metric, title) for each in result.trainings]
        numerators, denominators = zip(*parts, strict=True)
        rows.append(Row(title, np.stack(numerators), np.stack(denominators), largest))
    return rows


def fold_numbers(result: Result) -> NDArray[np.int64]:
    """(subjects,): fold of each subject, in order of name."""
    fold_of = {subject: number for number, fold in enumerate(result.folds) for subject in fold}
    return np.array([fold_of.get(subject, 0) for subject in sorted(result.subjects)], np.int64)


def _parts(result: Result, metric: str, title: str) -> Parts:
    """Return numerator and denominator, (subjects, parts), in order of name."""
    kind, _, name = metric.partition("/")
    subjects = sorted(result.subjects)
    if metric in MEANS or metric == "pixel_accuracy" or (kind in CLASS_METRICS and name in result.classes):
        matrices = np.stack([result.subjects[subject] for subject in subjects]).astype(np.float64)
        if metric == "pixel_accuracy":
            return np.trace(matrices, axis1=1, axis2=2)[:, None], matrices.sum(axis=(1, 2))[:, None]
        which = slice(None) if metric in MEANS else [result.classes.index(name)]
        numerator, denominator = _of_classes(matrices, MEANS.get(metric, kind))
        return numerator[:, which], denominator[:, which]
    if result.boundaries is not None and ("nsd" in kind or "hd95" in kind or "boundary" in kind):
        measured = result.boundaries.measures()
        if metric in measured and sorted({image.subject for image in result.boundaries.images}) == subjects:
            return measured[metric].numerator[:, None], measured[metric].denominator[:, None]
    measures = {} if result.lesions is None else dict(result.lesions.measures())
    measures |= {long.partition("/")[0]: m for long, m in measures.items() if long.startswith("mean_image_dice")}
    if metric not in measures:
        _refuse(result, metric, title, list(measures))
    measure = measures[metric]
    if result.lesions is None or sorted({image.subject for image in result.lesions.images}) != subjects:
        raise UserError(f"--metric {metric}: {title} has lesions of other subjects; evaluate it again")
    return measure.numerator[:, None].astype(np.float64), measure.denominator[:, None].astype(np.float64)


def _of_classes(matrices: Values, kind: str) -> Parts:
    """Return numerator and denominator of each class, (subjects, classes), for one of `CLASS_METRICS`."""
    tp = np.diagonal(matrices, axis1=1, axis2=2)
    in_truth, predicted = matrices.sum(axis=2), matrices.sum(axis=1)
    total, union = matrices.sum(axis=(1, 2))[:, None], in_truth + predicted - tp
    parts: dict[str, Parts] = {
        "iou": (tp, union),
        "dice": (2 * tp, in_truth + predicted),
        "sensitivity": (tp, in_truth),
        "specificity": (total - union, total - in_truth),
        "precision": (tp, predicted),
    }
    return parts[kind]


def _refuse(result: Result, metric: str, title: str, measures: Sequence[str]) -> None:
    names = ["pixel_accuracy", *MEANS, *(f"{kind}/{name}" for kind in CLASS_METRICS for name in result.classes)]
    lacks = "" if measures else "; its lesions were not counted"
    raise UserError(
        f"--metric {one_line(metric)}: unknown, or not available for {title}{lacks}; choose from "
        f"{', '.join(one_line(name) for name in [*names, *measures])}"
    )
