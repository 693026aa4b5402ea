"""Operating points of the folds of a cross-validation, each chosen on the predictions of all other folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engines.scoring.operating_point import at_point, out_of_fold_points
from scripts.comparison.store import Result
from transforms.errors import UserError


def at_points(folds: Sequence[Result], rule: str) -> list[Result]:
    """Apply operating points to the masks and candidates of the folds, and store them in `lesions.point`.

    Args:
        folds: folds of one cross-validation; the point of a fold does not depend on its own subjects.
        rule: see `choose_point`.

    Raises:
        UserError: the rule is unknown, there is only one fold, or lesions were not counted.
    """
    counted = [fold.lesions for fold in folds if fold.lesions is not None]
    if len(counted) < len(folds) or any(image.histogram is None for lesions in counted for image in lesions.images):
        raise UserError("--threshold_rule: no class of this data set is a lesion, or the folds are of an older version")
    points = out_of_fold_points([lesions.images for lesions in counted], rule, counted[0].classes)
    return [
        replace(
            fold,
            lesions=replace(
                lesions, images=tuple(at_point(image, point) for image in lesions.images), point=point.record
            ),
        )
        for fold, lesions, point in zip(folds, counted, points, strict=True)
    ]
