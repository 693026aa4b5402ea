"""Scoring protocols of publications on the same predictions: their effect on a published Dice (docs/evaluation.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engines.scoring.froc import Measure, Values
from engines.scoring.histogram import at_each_threshold
from engines.scoring.matching import ImageLesions

Curves = tuple[Values, Values]
"""(images, thresholds) Dice of each image, and (images,) 1 for images that count: those with a lesion."""


@dataclass(frozen=True)
class Protocol:
    """One way of scoring.

    Attributes:
        name: name in files.
        title: title for display.
        measure: returns the score of images; None if they lack the required data.
        by_image: the interval is over images, as if each were of another subject.
    """

    name: str
    title: str
    measure: Callable[[Sequence[ImageLesions]], Measure | None]
    by_image: bool = False


def measured(protocol: Protocol, images: Sequence[ImageLesions]) -> Measure | None:
    """Return the score of images as contributions of each subject (or image)."""
    found = protocol.measure(images)
    if found is None or protocol.by_image:
        return found
    place = np.unique([image.subject for image in images], return_inverse=True)[1].reshape(-1)
    sums = [np.bincount(place, part).astype(np.float64) for part in (found.numerator, found.denominator)]
    return Measure(sums[0], sums[1], found.largest)


def _counts(images: Sequence[ImageLesions]) -> tuple[Values, Values, Values]:
    """Return (images,) pixels of the truth, of the mask of the most likely class, and in both."""
    masks = [image.argmax or (image.predicted, image.shared) for image in images]
    return (
        np.array([image.truth for image in images], np.float64),
        np.array([predicted for predicted, _ in masks], np.float64),
        np.array([shared for _, shared in masks], np.float64),
    )


def _pooled(images: Sequence[ImageLesions]) -> Measure:
    truth, predicted, shared = _counts(images)
    return Measure(2 * shared, truth + predicted)


def _pooled_lesion_images(images: Sequence[ImageLesions]) -> Measure:
    truth, predicted, shared = _counts(images)
    return Measure(2 * shared, (truth + predicted) * (truth > 0))


def _mean_lesion_images(images: Sequence[ImageLesions]) -> Measure:
    truth, predicted, shared = _counts(images)
    return Measure(2 * shared / np.maximum(1, truth + predicted), (truth > 0).astype(np.float64))


def _mean_all_images(images: Sequence[ImageLesions]) -> Measure:
    """Mean over all images; an image without lesion scores 1 if the mask is empty, else 0."""
    truth, predicted, shared = _counts(images)
    dice = 2 * shared / np.maximum(1, truth + predicted)
    return Measure(np.where(truth > 0, dice, predicted == 0), np.ones(len(images)))


def _crops(images: Sequence[ImageLesions], best: bool) -> Measure | None:
    if any(len(image.crops) != len(image.lesions) for image in images):
        return None
    sums, counts = np.zeros((2, len(images)))
    for number, image in enumerate(images):
        for lesion, (truth, predicted, shared, best_predicted, best_shared) in zip(
            image.lesions, image.crops, strict=True
        ):
            if not lesion.void:
                mine = (best_predicted, best_shared) if best else (predicted, shared)
                sums[number] += 2 * mine[1] / (truth + mine[0])
                counts[number] += 1
    return Measure(sums, counts)


def _curves(images: Sequence[ImageLesions]) -> Curves | None:
    known = [(number, image) for number, image in enumerate(images) if image.truth]
    if not known or any(image.histogram is None for _, image in known):
        return None
    parts = [at_each_threshold(image.histogram) for _, image in known if image.histogram is not None]
    dice = np.zeros((len(images), len(parts[0][0])))
    for (number, _), (shared, predicted, truth) in zip(known, parts, strict=True):
        dice[number] = 2 * shared / (truth + predicted)
    return dice, np.array([image.truth > 0 for image in images], np.float64)


def _best_per_image(images: Sequence[ImageLesions]) -> Measure | None:
    found = _curves(images)
    return None if found is None else Measure(found[0].max(axis=1), found[1])


def _best_for_all(images: Sequence[ImageLesions]) -> Measure | None:
    found = _curves(images)
    return None if found is None else Measure(found[0][:, _middle(found[0].sum(axis=0))], found[1])


def _on_others(images: Sequence[ImageLesions], of: Sequence[str]) -> Measure | None:
    """Score each image at the threshold with the best mean Dice over all images with another key."""
    found = _curves(images)
    if found is None or len(set(of)) < 2:
        return None
    dice, counted = found
    total, out = dice.sum(axis=0), np.zeros(len(images))
    keys = np.unique(np.array(of, object).astype(str), return_inverse=True)[1].reshape(-1)
    for key in range(int(keys.max()) + 1):
        mine = keys == key
        out[mine] = dice[mine, _middle(total - dice[mine].sum(axis=0))]
    return Measure(out, counted)


def _middle(scores: Values) -> int:
    """Return the index of the middle one of the best thresholds."""
    best = np.flatnonzero(scores >= scores.max() - 1e-12)
    return int(best[len(best) // 2])


def _other_subjects(images: Sequence[ImageLesions]) -> Measure | None:
    return _on_others(images, [image.subject for image in images])


def _other_images(images: Sequence[ImageLesions]) -> Measure | None:
    return _on_others(images, [str(number) for number in range(len(images))])


PROTOCOLS = (
    Protocol("pooled", "All pixels of all images together", _pooled),
    Protocol("pooled_lesion_images", "All pixels of the images with a lesion", _pooled_lesion_images),
    Protocol("mean_lesion_images", "Mean over the images with a lesion", _mean_lesion_images),
    Protocol("mean_all_images", "Mean over all images; normal ones 1 if the mask is empty", _mean_all_images),
    Protocol("threshold_of_other_subjects", "Threshold chosen on other subjects", _other_subjects),
    Protocol("split_by_image", "Threshold chosen on other images; interval over images", _other_images, True),
    Protocol("threshold_of_all", "Threshold chosen on the scored images", _best_for_all),
    Protocol("threshold_per_image", "Threshold chosen for each image", _best_per_image),
    Protocol("crop", "Crop around each lesion", lambda images: _crops(images, False)),
    Protocol(
        "crop_threshold", "Crop around each lesion, threshold chosen for each", lambda images: _crops(images, True)
    ),
)
"""Where no threshold is named, the mask is the most likely class. Thresholds are means over images, crops over
lesions."""
