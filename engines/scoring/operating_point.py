"""Operating point of a network: threshold of the mask, and minimum score of a candidate.

Chosen by a stated rule on subjects that are not scored with it afterwards (docs/evaluation.md), stored beside the
weights, and used by evaluation and inference.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.scoring.froc import Froc
from engines.scoring.histogram import BINS, THRESHOLDS, at_each_threshold
from engines.scoring.lesion_classes import lesion_classes
from engines.scoring.matching import ImageLesions
from transforms.errors import UserError

if TYPE_CHECKING:
    from transforms.decision import Decision

RULES = ("dice", "mean_dice", "fp<=N")


@dataclass(frozen=True)
class OperatingPoint:
    """Two thresholds and their origin.

    Attributes:
        threshold: minimum probability of the mask's pixels, a multiple of a thousandth.
        min_lesion_score: minimum score of kept candidates.
        rule: see `choose_point`.
        chosen_on: description of the predictions it was chosen on.
        subjects: number of their subjects.
        lesion_classes: names of the lesion classes.
    """

    threshold: float
    min_lesion_score: float
    rule: str
    chosen_on: str
    subjects: int
    lesion_classes: tuple[str, ...]

    @property
    def record(self) -> dict[str, Any]:
        """Plain values for models/<stage>.json."""
        return {**asdict(self), "lesion_classes": list(self.lesion_classes)}


def rule_rate(rule: str) -> float | None:
    """Return the N of "fp<=N"; None for the other rules.

    Raises:
        UserError: unknown rule.
    """
    if rule in ("dice", "mean_dice"):
        return None
    found = re.fullmatch(r"fp<=(\d+(?:\.\d+)?)", rule.replace(" ", ""))
    if found is None:
        raise UserError(f"--threshold_rule {rule}: unknown rule; choose from {', '.join(RULES)}, as in 'fp<=1'")
    return float(found[1])


def choose_point(
    images: Sequence[ImageLesions], rule: str, chosen_on: str, lesion_classes: Sequence[str]
) -> OperatingPoint:
    """Choose both thresholds on images.

    The rule "dice" takes the threshold with the highest Dice of all pixels together, "mean_dice" the one with the
    highest mean over the images with a lesion, in both cases the middle of equal ones. Candidates are kept from the
    same score on. The rule "fp<=N" takes the mask of "dice", and the lowest minimum score of candidates with at most N
    false positives per image.

    Raises:
        UserError: unknown rule, or no lesion in the images.
    """
    rate = rule_rate(rule)
    curves = [at_each_threshold(image.histogram) for image in images if image.histogram is not None and image.truth]
    if not curves:
        raise UserError(
            f"no lesion in the images of {chosen_on}: no threshold can be chosen on them; hold out a larger "
            "--threshold_share, or leave --threshold_from out"
        )
    if rule == "mean_dice":
        dice = np.mean([2 * shared / (truth + predicted) for shared, predicted, truth in curves], axis=0)
    else:
        every = [at_each_threshold(image.histogram) for image in images if image.histogram is not None]
        shared = np.sum([curve[0] for curve in every], axis=0)
        predicted = np.sum([curve[1] for curve in every], axis=0)
        dice = 2 * shared / (sum(curve[2] for curve in every) + predicted)
    best = np.flatnonzero(dice >= dice.max())
    threshold = float(THRESHOLDS[best[len(best) // 2]])
    score = threshold
    if rate is not None:
        score = min(1.0, Froc(images).threshold_at(rate))
    subjects = len({image.subject for image in images})
    return OperatingPoint(threshold, score, rule, chosen_on, subjects, tuple(lesion_classes))


def at_point(image: ImageLesions, point: OperatingPoint) -> ImageLesions:
    """Return an image with the mask of an operating point: Dice from the histogram; Dice of each lesion is unknown."""
    if image.histogram is None:
        raise ValueError(f"{image.case}: no histogram")
    shared, predicted, _ = at_each_threshold(image.histogram)
    place = round(point.threshold * BINS) - 1
    lesions = tuple(replace(lesion, dice=math.nan) for lesion in image.lesions)
    return replace(
        image,
        argmax=image.argmax or (image.predicted, image.shared),
        predicted=int(predicted[place]),
        shared=int(shared[place]),
        lesions=lesions,
        min_score=point.min_lesion_score,
    )


def out_of_fold_points(
    folds: Sequence[Sequence[ImageLesions]], rule: str, lesion_classes: Sequence[str]
) -> list[OperatingPoint]:
    """Return the operating point of each fold, chosen on the out-of-fold predictions for all other folds' subjects."""
    if len(folds) < 2:
        raise UserError("--threshold_rule: needs two folds or more; each takes its threshold from the others")
    points = []
    for number in range(len(folds)):
        others = [image for other, fold in enumerate(folds) if other != number for image in fold]
        where = "the other fold" if len(folds) == 2 else f"the other {len(folds) - 1} folds"
        where += ", out of fold"
        points.append(choose_point(others, rule, where, lesion_classes))
    return points


def decision_of(
    settings: Mapping[str, Any], threshold: Any = None, lesions: Sequence[int] | None = None
) -> Decision | None:
    """Return how pixels are decided with weights: by their stored operating point; None for the most likely class.

    Args:
        settings: content of models/<weights>.json.
        threshold: used instead of the stored one; "none" for the most likely class.
        lesions: numbers of the lesion classes, none of which takes the most likely class unless a threshold is given;
            by default those of the operating point.

    Raises:
        UserError: not a probability, no class of these weights is a lesion, or the stored operating point is damaged.
    """
    point = _stored(settings)
    if threshold is None and (lesions is None or len(lesions)):
        threshold = point.get("threshold")
    if threshold is None or threshold == "none":
        return None
    number = isinstance(threshold, (int, float)) and not isinstance(threshold, bool)
    if not number or not 0 < threshold <= 1:
        raise UserError(f"--threshold {threshold}: expected a probability above 0 and at most 1, or none")
    labels = settings["labels"]
    names = [labels[key] for key in sorted(labels, key=int)]
    if lesions is None:
        lesions = lesion_classes(names, point.get("lesion_classes") or settings.get("lesion_class"))
    if not lesions or len(lesions) == len(names):
        raise UserError(f"--threshold {threshold}: none of the classes is a lesion beside others: {', '.join(names)}")
    from transforms.decision import Decision  # with torch, which a comparison does without

    return Decision(tuple(lesions), float(threshold))


def min_score_of(settings: Mapping[str, Any], given: Any = None, threshold: Any = None) -> float | None:
    """Return the minimum score of kept candidates: as given, else of the stored operating point, else of the training.

    An operating point written by hand without a score keeps candidates from its threshold on, as one by the rule
    "dice". None if nothing specifies a score, or if a given threshold decides instead.

    Args:
        settings: content of models/<weights>.json.
        given: `--min_lesion_score`.
        threshold: `--threshold`, which replaces the stored operating point.

    Raises:
        UserError: not a probability, or the stored operating point is damaged.
    """
    point, score = _stored(settings), given
    if score is None and threshold is None and point:
        score = point.get("min_lesion_score", point.get("threshold"))
    elif score is None and threshold in (None, "none"):
        score = settings.get("min_lesion_score")
    if score is None:
        return None
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0 <= score <= 1:
        raise UserError(f"--min_lesion_score {score}: expected a probability between 0 and 1")
    return float(score)


def _stored(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    point = settings.get("operating_point") or {}
    if not isinstance(point, Mapping):
        raise UserError(
            f"operating_point {str(point)[:60]}: expected an object with threshold and min_lesion_score, or null; "
            "correct it in the JSON file of the weights or members"
        )
    return point
