"""Scores of a segmentation from one streaming confusion matrix.

`confusion[t, p]` counts pixels of true class t predicted as p. With TP the diagonal, FN and FP the rest of the row
and of the column:

    pixel_accuracy        sum of TP / all pixels
    iou/<class>           TP / (TP + FP + FN);     mean_iou             mean over the classes
    dice/<class>          2 TP / (2 TP + FP + FN); mean_dice            mean over the classes
    sensitivity/<class>   TP / (TP + FN);          mean_class_accuracy  mean over the classes that are in the truth
    specificity/<class>   TN / (TN + FP), with TN all pixels but those of the class's row and column
    precision/<class>     TP / (TP + FP)
    frequency_weighted_iou                         mean of IoU, each weighted by the class's share of the truth

A class in neither truth nor prediction is NaN and left out of the means, as the Cityscapes evaluator does. A class
that is predicted but not in the truth has IoU and Dice 0 and counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engines.base.world import gathered, world_size
from engines.records.score_table import CLASS_TITLES, TITLES

if TYPE_CHECKING:
    import torch

PAPER_METRICS = tuple(TITLES)
OVERALL_METRICS = (*PAPER_METRICS, "mean_dice", "frequency_weighted_iou")
CLASS_METRICS = tuple(CLASS_TITLES)

STRIP = 1 << 18
"""Pixels counted at a time, few enough for the processor's cache; NumPy, since torch's threads wait for one another."""


def metric_names(class_names: Sequence[str]) -> list[str]:
    """Names of all scores."""
    return [*OVERALL_METRICS, *(f"{kind}/{name}" for kind in CLASS_METRICS for name in class_names)]


def confusion_matrix(truth: torch.Tensor, pred: torch.Tensor, num_classes: int) -> NDArray[np.int64]:
    """Count (num_classes, num_classes) pairs (truth, prediction) of two integer maps of one shape.

    Pixels whose truth is not a class (void) are not counted.

    Raises:
        ValueError: shapes differ, or a prediction at a counted pixel is not a class.

    Examples:
        >>> import torch
        >>> truth, pred = torch.tensor([0, 0, 1, 1, 255]), torch.tensor([0, 1, 1, 1, 0])  # 255 is void
        >>> confusion_matrix(truth, pred, num_classes=2).tolist()
        [[1, 1], [0, 2]]
    """
    if truth.shape != pred.shape:
        raise ValueError(f"truth {tuple(truth.shape)} and prediction {tuple(pred.shape)} differ in shape")
    t, p = truth.detach().cpu().reshape(-1).numpy(), pred.detach().cpu().reshape(-1).numpy()
    size = num_classes + 1  # one more: values that are not a class
    counts = np.zeros(size * size, dtype=np.int64)
    for start in range(0, t.size, STRIP):
        pairs = _classes(t[start : start + STRIP], num_classes)
        pairs *= size
        pairs += _classes(p[start : start + STRIP], num_classes)
        counts += np.bincount(pairs, minlength=size * size)
    matrix = counts.reshape(size, size)
    if matrix[:-1, -1].any():
        counted = p[(t >= 0) & (t < num_classes)]
        raise ValueError(f"prediction holds {counted.min():g}…{counted.max():g}, expected 0…{num_classes - 1}")
    return matrix[:-1, :-1].copy()


def _classes(values: NDArray[Any], num_classes: int) -> NDArray[np.integer[Any]]:
    """Return a copy with `num_classes` for values that are not a class; in bytes if a pair of classes fits into one."""
    kind = np.uint8 if (num_classes + 1) ** 2 <= 256 else np.int32
    if values.dtype == np.uint8 and kind is np.uint8:
        return np.minimum(values, np.uint8(num_classes))
    return np.where((values < 0) | (values > num_classes), num_classes, values).astype(kind)


def scores(confusion: ArrayLike, class_names: Sequence[str] | None = None) -> dict[str, float]:
    """All scores of a (C, C) integer matrix (rows = truth) under the names above.

    Args:
        class_names: C names for the per-class scores; the class numbers when None.

    Raises:
        ValueError: the matrix is not square or the names do not fit.

    Examples:
        >>> result = scores([[1, 1], [0, 2]], ["breast", "tumor"])
        >>> result["pixel_accuracy"], result["iou/breast"], result["dice/tumor"]
        (0.75, 0.5, 0.8)
    """
    matrix = np.asarray(confusion, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"confusion must be a square matrix, got shape {matrix.shape}")
    names = [str(c) for c in range(len(matrix))] if class_names is None else list(class_names)
    if len(names) != len(matrix):
        raise ValueError(f"{len(names)} class names for {len(matrix)} classes")
    result = {name: float(value) for name, value in overall_scores(matrix).items()}
    for kind, values in class_scores(matrix).items():
        result.update({f"{kind}/{name}": float(value) for name, value in zip(names, values, strict=True)})
    return result


def overall_scores(matrices: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """`OVERALL_METRICS` of (…, C, C) matrices, each (…)."""
    by_class = class_scores(matrices)
    in_truth, total = matrices.sum(axis=-1), matrices.sum(axis=(-2, -1))
    return {
        "pixel_accuracy": _ratio(np.trace(matrices, axis1=-2, axis2=-1), total),
        "mean_iou": _mean(by_class["iou"]),
        "mean_class_accuracy": _mean(by_class["sensitivity"]),
        "mean_dice": _mean(by_class["dice"]),
        "frequency_weighted_iou": _ratio((in_truth * np.nan_to_num(by_class["iou"])).sum(axis=-1), total),
    }


def class_scores(matrices: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """`CLASS_METRICS` of (…, C, C) matrices, each (…, C)."""
    tp = np.diagonal(matrices, axis1=-2, axis2=-1)
    in_truth, predicted = matrices.sum(axis=-1), matrices.sum(axis=-2)
    total, union = matrices.sum(axis=(-2, -1))[..., None], in_truth + predicted - tp
    return {
        "iou": _ratio(tp, union),
        "dice": _ratio(2 * tp, in_truth + predicted),
        "sensitivity": _ratio(tp, in_truth),
        "specificity": _ratio(total - union, total - in_truth),
        "precision": _ratio(tp, predicted),
    }


def _ratio(numerator: Any, denominator: Any) -> NDArray[np.float64]:
    """Quotient, NaN where the denominator is 0."""
    numerator, denominator = np.asarray(numerator), np.asarray(denominator)
    return np.divide(numerator, denominator, out=np.full(denominator.shape, np.nan), where=denominator > 0)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis of the values that are numbers; NaN if there is none."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1))


def merged_matrices(per_subject: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
    """Sum the subjects' matrices over the processes of a distributed run."""
    if world_size() == 1:
        return per_subject
    merged: dict[str, NDArray[np.int64]] = {}
    for subject, counts in gathered(list(per_subject.items())):
        merged[subject] = merged[subject] + counts if subject in merged else counts
    return merged


def trivial_row(class_names: Sequence[str]) -> str:
    """Return the name of the row for predicting only class 0: `all background`, or `all road`."""
    return f"all {class_names[0]}"


def trivial_scores(per_subject: dict[str, NDArray[np.int64]], class_names: Sequence[str]) -> dict[str, float]:
    """Scores of the predictor that calls every pixel class 0 (background), on the same pixels."""
    total = sum(per_subject.values(), np.zeros((len(class_names),) * 2, dtype=np.int64))
    background = np.zeros_like(total)
    background[:, 0] = total.sum(axis=1)
    return scores(background, class_names)
