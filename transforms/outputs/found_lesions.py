"""Lesions of a segmented image that results list: the candidates that an evaluation counts (docs/evaluation.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from transforms.outputs.regions import Region

if TYPE_CHECKING:
    from transforms.candidates import Box, Candidate


@dataclass(frozen=True)
class FoundLesion:
    """One lesion.

    Attributes:
        score: score of its candidate; None if probabilities are unknown, when it is a part of the mask.
        label: class with most of its pixels in the mask; if it has none, the most probable lesion class at its peak.
        pixels: number of its pixels in the mask; 0 if its score is below the mask's threshold.
        box: (top, left, bottom, right) of these pixels, without any of its candidate's region.
        regions: the regions of the mask that belong to it.
    """

    score: float | None
    label: int
    pixels: int
    box: Box
    regions: tuple[Region, ...] = field(default=(), repr=False)


def found_lesions(
    regions: Sequence[Region],
    candidates: Sequence[Candidate] | None,
    min_score: float | None,
    probabilities: NDArray[np.float32] | None,
    lesions: Sequence[int],
    shape: tuple[int, int],
) -> list[FoundLesion]:
    """Return the listed lesions by descending score; without scores, in row-major order.

    Args:
        regions: the mask's regions, see `find_regions`.
        candidates: candidates of the lesion probability, by number; None if it is unknown.
        min_score: minimum score of listed candidates; None lists those with pixels in the mask.
        probabilities: (classes, h, w), probability of each class.
        lesions: numbers of the lesion classes.
        shape: (rows, columns) of the mask.
    """
    parts: dict[int, list[Region]] = {}
    for region in regions:
        if region.lesion:
            parts.setdefault(region.lesion, []).append(region)
    if candidates is None or probabilities is None:
        return [_in_mask(None, members) for _, members in sorted(parts.items())]
    found = []
    for number, candidate in enumerate(candidates, start=1):
        if number in parts and (min_score is None or candidate.score >= min_score):
            found.append(_in_mask(candidate.score, parts[number]))
        elif min_score is not None and candidate.score >= min_score:
            label = _class_at(candidate.center, probabilities, lesions, shape)
            found.append(FoundLesion(candidate.score, label, 0, candidate.box))
    return found


def box_of(regions: Sequence[Region]) -> Box:
    """Return (top, left, bottom, right) of regions together."""
    return (
        min(region.top for region in regions),
        min(region.left for region in regions),
        max(region.bottom for region in regions),
        max(region.right for region in regions),
    )


def _in_mask(score: float | None, regions: Sequence[Region]) -> FoundLesion:
    pixels: dict[int, int] = {}
    for region in regions:
        pixels[region.label] = pixels.get(region.label, 0) + region.pixels
    label = max(sorted(pixels), key=lambda each: pixels[each])
    return FoundLesion(score, label, sum(pixels.values()), box_of(regions), tuple(regions))


def _class_at(
    pixel: tuple[int, int], probabilities: NDArray[np.float32], lesions: Sequence[int], shape: tuple[int, int]
) -> int:
    """Return the most probable lesion class in the coarse pixel that contains the center of a pixel."""
    row, column = (int((at + 0.5) * n / of) for at, n, of in zip(pixel, probabilities.shape[1:], shape, strict=True))
    return max(lesions, key=lambda label: float(probabilities[label, row, column]))
