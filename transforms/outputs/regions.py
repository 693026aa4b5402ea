"""Connected regions of a label map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STRIP = 256


@dataclass(frozen=True)
class Region:
    """A 4-connected component of one class.

    Attributes:
        number: its value in the region map, from 1 on.
        label: its class.
        pixels: its size.
        top, left, bottom, right: its bounding box; bottom and right are the first row and column after it.
        probability: mean probability of its class, or None if unknown.
        score: highest lesion probability in the region of a lesion; None for other regions, or if unknown.
    """

    number: int
    label: int
    pixels: int
    top: int
    left: int
    bottom: int
    right: int
    probability: float | None = None
    score: float | None = None


def find_regions(
    label: NDArray[np.uint8],
    probabilities: NDArray[np.float32] | None = None,
    lesion: NDArray[np.float32] | None = None,
    lesions: Sequence[int] = (),
) -> tuple[NDArray[np.int32], list[Region]]:
    """Region map, int32 (rows, columns) with 0 for background, and its regions in order of their numbers.

    Pixels are connected over their sides, not their corners (4-connectivity).

    Args:
        label: class of each pixel, (rows, columns).
        probabilities: (classes, h, w) over the same field of view, usually coarser: each pixel has the probability of
            the coarse pixel that contains its center.
        lesion: lesion probability, (rows, columns).
        lesions: the lesion classes.
    """
    from scipy.ndimage import find_objects, maximum
    from skimage.measure import label as components

    numbered = components(label, background=0, connectivity=1).astype(np.int32)
    boxes = find_objects(numbered)
    pixels = np.bincount(numbered.ravel(), minlength=len(boxes) + 1)
    classes = np.zeros(len(boxes) + 1, np.uint8)
    classes[numbered.ravel()] = label.ravel()
    means = None if probabilities is None else _sums(label, numbered, probabilities, len(boxes) + 1) / pixels.clip(1)
    scores = None if lesion is None else maximum(lesion, numbered, np.arange(len(boxes) + 1))
    return numbered, [
        Region(
            number,
            int(classes[number]),
            int(pixels[number]),
            *(rows.start, columns.start, rows.stop, columns.stop),
            None if means is None else float(means[number]),
            None if scores is None or int(classes[number]) not in lesions else float(scores[number]),
        )
        for number, (rows, columns) in enumerate(boxes, start=1)
    ]


def _sums(
    label: NDArray[np.uint8], numbered: NDArray[np.int32], probabilities: NDArray[np.float32], length: int
) -> NDArray[np.float64]:
    """Sum over each region of the probability of the pixels' own class, computed in strips of rows."""
    (height, width), (rows, columns) = probabilities.shape[1:], label.shape
    row = ((np.arange(rows) + 0.5) * height / rows).astype(np.intp)
    column = ((np.arange(columns) + 0.5) * width / columns).astype(np.intp)
    sums = np.zeros(length)
    for first in range(0, rows, _STRIP):
        part = np.s_[first : first + _STRIP]
        values = probabilities[label[part], row[part, None], column[None]]
        sums += np.bincount(numbered[part].ravel(), weights=values.ravel(), minlength=length)
    return sums
