"""Counts in a crop around each lesion, as scored in publications that segment crops of known lesions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.scoring.histogram import at_each_threshold, histogram

Crop = tuple[int, int, int, int, int]
"""Pixels of the truth, of the mask, and in both; and the latter two at the threshold of the crop's best Dice."""


def crop_counts(
    boxes: Iterable[Sequence[int]],
    truth: NDArray[np.bool_],
    mask: NDArray[np.bool_],
    probability: NDArray[np.floating[Any]],
    valid: NDArray[np.bool_],
) -> tuple[Crop, ...]:
    """Return counts in crops of twice the size of boxes (top, left, bottom, right), centered on them, cut at the image.

    Args:
        truth, mask, probability, valid: (H, W), of the lesion class; invalid pixels are not counted.
    """
    return tuple(_count(part, truth, mask, probability, valid) for part in (_twice(box, truth.shape) for box in boxes))


def _twice(box: Sequence[int], shape: Sequence[int]) -> tuple[slice, slice]:
    sides = []
    for axis in (0, 1):
        first, last = box[axis], box[axis + 2]
        more = (last - first + 1) // 2
        sides.append(slice(max(0, first - more), min(shape[axis], last + more)))
    return sides[0], sides[1]


def _count(
    part: tuple[slice, slice],
    truth: NDArray[np.bool_],
    mask: NDArray[np.bool_],
    probability: NDArray[np.floating[Any]],
    valid: NDArray[np.bool_],
) -> Crop:
    true, valid = truth[part] & valid[part], valid[part]
    found = mask[part] & valid
    shared, predicted, pixels = at_each_threshold(histogram(probability[part], true, valid))
    best = int(np.argmax(2 * shared / (pixels + predicted)))
    return pixels, int(found.sum()), int((found & true).sum()), int(predicted[best]), int(shared[best])
