"""Connected regions of a label map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STRIP = 256


@dataclass(frozen=True)
class Region:
    """A 4-connected component of one class; in a lesion class, of one lesion.

    Attributes:
        number: its value in the region map, from 1 on.
        label: its class.
        pixels: its size.
        top, left, bottom, right: its bounding box; bottom and right are the first row and column after it.
        probability: mean probability of its class, or None if unknown.
        lesion: number of the lesion that it belongs to, from 1 on; 0 for none.
        score: score of that lesion; None without one, or if unknown.
    """

    number: int
    label: int
    pixels: int
    top: int
    left: int
    bottom: int
    right: int
    probability: float | None = None
    lesion: int = 0
    score: float | None = None


def find_regions(
    label: NDArray[np.uint8],
    probabilities: NDArray[np.float32] | None = None,
    owners: NDArray[np.int32] | None = None,
    scores: Sequence[float] | None = None,
) -> tuple[NDArray[np.int32], list[Region]]:
    """Region map, int32 (rows, columns) with 0 for background, and its regions in order of their numbers.

    Pixels are connected over their sides, not their corners (4-connectivity).

    Args:
        label: class of each pixel, (rows, columns).
        probabilities: (classes, h, w) over the same field of view, usually coarser: each pixel has the probability of
            the coarse pixel that contains its center.
        owners: number of the lesion that each pixel belongs to, (rows, columns), from 1 on; 0 for none. Pixels of
            different lesions are not connected.
        scores: score of each lesion, in order of the numbers.
    """
    from scipy.ndimage import find_objects
    from skimage.measure import label as components

    values = label if owners is None else label + owners * np.int32(256)
    numbered = components(values, background=0, connectivity=1).astype(np.int32)
    boxes = find_objects(numbered)
    pixels = np.bincount(numbered.ravel(), minlength=len(boxes) + 1)
    of = np.zeros(len(boxes) + 1, np.int32)
    of[numbered.ravel()] = values.ravel()
    lesions, classes = np.divmod(of, 256)
    means = None if probabilities is None else _sums(label, numbered, probabilities, len(boxes) + 1) / pixels.clip(1)
    return numbered, [
        Region(
            number,
            int(classes[number]),
            int(pixels[number]),
            *(rows.start, columns.start, rows.stop, columns.stop),
            None if means is None else float(means[number]),
            int(lesions[number]),
            None if scores is None or not lesions[number] else scores[lesions[number] - 1],
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
