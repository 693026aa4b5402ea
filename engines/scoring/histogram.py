"""Histogram of the lesion probability of an image, from which the Dice at any threshold follows.

Thresholds are multiples of a thousandth. Bins are compared in single precision, like the mask (`transforms.decision`):
the counts of a histogram at a threshold equal those of the mask at that threshold, to the pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 1000
EDGES = (np.arange(BINS + 1) / BINS).astype(np.float32)
THRESHOLDS = np.arange(1, BINS) / BINS

Histogram = tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]
"""(bin, pixels) of the lesions' pixels and of the others; empty bins are left out."""


def histogram(probability: NDArray[np.floating[Any]], truth: NDArray[np.bool_], valid: NDArray[np.bool_]) -> Histogram:
    """Count the pixels of a map (H, W), separately for lesions and others; invalid pixels are in neither."""
    p = probability.astype(np.float32)
    bins = (p * BINS).astype(np.int64).clip(0, BINS - 1)
    bins -= p < EDGES[bins]
    bins += p >= EDGES[bins + 1]
    return _counts(bins[truth & valid]), _counts(bins[~truth & valid])


def at_each_threshold(counts: Histogram) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return shared pixels and mask pixels at each of `THRESHOLDS`, and the number of lesion pixels."""
    lesion, other = (_dense(part) for part in counts)
    shared = lesion[::-1].cumsum()[::-1]
    predicted = shared + other[::-1].cumsum()[::-1]
    return shared[1:BINS], predicted[1:BINS], int(lesion.sum())


def _counts(bins: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    counts = np.bincount(bins, minlength=BINS)
    return tuple((int(n), int(counts[n])) for n in np.flatnonzero(counts))


def _dense(part: tuple[tuple[int, int], ...]) -> NDArray[np.int64]:
    counts = np.zeros(BINS + 1, np.int64)  # the last: probability 1
    for number, pixels in part:
        counts[number] = pixels
    return counts
