"""Hausdorff distances of several rows, which are only defined in images where a row finds the class."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

from scripts.comparison.store import Result

Place = tuple[str, str, str]
"""Subject, case, class."""


def undefined(results: Sequence[Result]) -> set[Place]:
    """Images and classes without a distance in some training of some row."""
    return {
        (image.subject, image.case, name)
        for result in results
        for each in result.trainings
        if each.boundaries is not None
        for image in each.boundaries.images
        for name, (_, distance, _) in image.classes.items()
        if math.isnan(distance)
    }


def without(result: Result, places: Collection[Place]) -> Result:
    """Return a training's result without the distances at some places."""
    if result.boundaries is None:
        return result
    images = tuple(
        replace(
            image,
            classes={
                name: (nsd, math.nan if (image.subject, image.case, name) in places else distance, iou)
                for name, (nsd, distance, iou) in image.classes.items()
            },
        )
        for image in result.boundaries.images
    )
    return replace(result, boundaries=replace(result.boundaries, images=images))


def distance_notes(results: Sequence[Result], metric: str) -> list[str]:
    """Return a sentence on the images that a statement on distances is about; none for other scores."""
    kept = without(results[0], undefined(results)).boundaries
    if "hd95" not in metric or len(results) < 2 or kept is None:
        return []
    known = int(kept.measures()[metric].denominator.sum())
    return [
        f"The statement on {metric} is about the {known} of {len(kept.images)} images in which all trainings of all "
        "rows have a distance: it does not count what a row misses."
    ]
