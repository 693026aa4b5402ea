"""Lesion candidates: positions suspected by a network, each with a score and a fixed region.

Definition (docs/evaluation.md). For a map p of the probability that a pixel is a lesion:

- a candidate is a peak of p that every 8-connected path to a higher peak leaves through a pass lower than half the
  peak's own height; its score is that height, at least `FLOOR`;
- its region is the 8-connected component of {p >= score / 2} that holds the peak.

Every pixel belongs to a candidate, or to none where all is low: to that of the peak to which the steepest ascent leads
from it, and from a peak that is no candidate to the higher peak behind its highest pass. The pixels of a region belong
to its candidate; pixels on the slopes below it may, too.

So the regions are exactly those components of {p >= t} whose highest value is 2 t. They are disjoint and independent of
a threshold: omitting candidates of low score does not change the others. A plateau is one peak; of equal peaks in one
region, the first in row-major order represents it.

Algorithm. Each pixel points to the highest of its neighbors; following these leads to the peak whose basin it is in.
Two basins touch at pairs of neighboring pixels; the pass between them is the highest of the pairs' lower values. The
basins are joined over their passes, from the highest pass down: Kruskal's algorithm on a graph of a few thousand nodes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from skimage.measure import label as components

FLOOR = 0.01
"""Lowest score of a candidate."""

Box = tuple[int, int, int, int]
"""(top, left, bottom, right) in pixels; bottom and right are not included."""


@dataclass(frozen=True)
class Candidate:
    """One candidate of an image.

    Attributes:
        score: the highest probability in the region.
        center: (row, column), the pixel nearest to the mean position of the peak's plateau.
        box: the bounding box of the region.
        region: mask (bottom - top, right - left) of the region in its box.
    """

    score: float
    center: tuple[int, int]
    box: Box
    region: NDArray[np.bool_] = field(repr=False)

    @property
    def slices(self) -> tuple[slice, slice]:
        """The box as an index of the image."""
        top, left, bottom, right = self.box
        return slice(top, bottom), slice(left, right)


def find_candidates(probability: NDArray[np.floating[Any]], floor: float = FLOOR) -> list[Candidate]:
    """Return the candidates of a map (H, W) by descending score; equal scores in row-major order of the peaks.

    Args:
        probability: probability of a lesion, between 0 and 1; NaN counts as 0.
        floor: lowest score, above 0.

    Raises:
        ValueError: not a map, or a floor of 0 or less.
    """
    return divided(probability, floor)[0]


def divided(probability: NDArray[np.floating[Any]], floor: float = FLOOR) -> tuple[list[Candidate], NDArray[np.int32]]:
    """Return `find_candidates`, and to which of them each pixel belongs: a map (H, W) of numbers from 1 on, 0 for none.

    Raises:
        ValueError: as `find_candidates`.
    """
    if probability.ndim != 2 or not floor > 0:
        raise ValueError(f"expected a map (H, W) and a floor above 0; got {probability.shape} and {floor}")
    p = np.nan_to_num(np.ascontiguousarray(probability), nan=0.0)
    regions, peaks, owners = _regions(p, floor)
    boxes = find_objects(regions)
    order = np.lexsort((peaks, -p.ravel()[peaks]))
    rank = np.zeros(len(order) + 1, np.int32)
    rank[order + 1] = np.arange(1, len(order) + 1)
    found = []
    for number in order:
        rows, columns = boxes[number]
        region = regions[rows, columns] == number + 1
        row, column = divmod(int(peaks[number]), p.shape[1])
        score = p[row, column]
        center = _plateau_center(region & (p[rows, columns] == score), (row - rows.start, column - columns.start))
        box = (rows.start, columns.start, rows.stop, columns.stop)
        found.append(Candidate(float(score), (center[0] + rows.start, center[1] + columns.start), box, region))
    return found, rank[owners]


def _regions(
    p: NDArray[np.floating[Any]], floor: float
) -> tuple[NDArray[np.int32], NDArray[np.intp], NDArray[np.int32]]:
    """Return a label map (H, W) of the regions, numbered from 1, the flat position of the (first) peak of each, and a
    label map (H, W) of the pixels that belong to each candidate.
    """
    active = p >= floor / 2
    if not active.any():
        return np.zeros(p.shape, np.int32), np.zeros(0, np.intp), np.zeros(p.shape, np.int32)
    roots = _peak_of_each_pixel(p)
    peaks = np.flatnonzero((roots.ravel() == np.arange(p.size)) & active.ravel())
    place = np.empty(p.size, np.int32)
    place[peaks] = np.arange(len(peaks))
    basins = place[roots[active]]
    heights = p.ravel()[peaks]
    numbers = np.full(p.shape, -1, np.int32)
    numbers[active] = basins
    owner, candidate = _owners(heights, *_passes(p, numbers), floor)
    kept = np.flatnonzero(owner == np.arange(len(owner)))
    regions, belonging = np.zeros((2, *p.shape), np.int32)
    number_of = np.zeros(len(peaks) + 1, np.int32)  # the last is for basins without a candidate
    number_of[kept] = np.arange(1, len(kept) + 1)
    levels = np.append(heights, np.inf)[owner] / 2
    regions[active] = np.where(p[active] >= levels[basins], number_of[owner][basins], 0)
    belonging[active] = number_of[candidate][basins]
    return regions, peaks[kept], belonging


def _peak_of_each_pixel(p: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
    """Return (H, W) flat positions of the peak that steepest ascent reaches from each pixel; ties: first neighbor."""
    rows, columns = p.shape
    padded = np.pad(p, 1, constant_values=-1)
    best, step = np.full(p.shape, -1, p.dtype), np.zeros(p.shape, np.int8)
    offsets = [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1)]
    for number, (r, c) in enumerate(offsets):
        neighbor = padded[1 + r : 1 + r + rows, 1 + c : 1 + c + columns]
        higher = neighbor > best
        np.copyto(best, neighbor, where=higher)
        np.copyto(step, number, where=higher)
    moves = np.array([r * columns + c for r, c in offsets], np.intp)
    target = np.arange(p.size, dtype=np.intp) + moves[step.ravel()]
    while True:  # each iteration doubles the length of the paths
        further = target[target]
        if np.array_equal(further, target):
            return target.reshape(p.shape)
        target = further


def _passes(
    p: NDArray[np.floating[Any]], basins: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.floating[Any]]]:
    """Return pairs of touching basins and the height of the pass between them, highest first; basin -1 means none."""
    rows, columns = p.shape
    pairs, heights = [], []
    for r, c in ((0, 1), (1, -1), (1, 0), (1, 1)):
        here = (slice(0, rows - r), slice(max(0, -c), columns - max(0, c)))
        there = (slice(r, rows), slice(max(0, c), columns + min(0, c)))
        a, b = basins[here], basins[there]
        touching = (a != b) & (a >= 0) & (b >= 0)
        a, b = a[touching].astype(np.int64), b[touching].astype(np.int64)
        pairs.append(np.minimum(a, b) << 32 | np.maximum(a, b))
        heights.append(np.minimum(p[here][touching], p[there][touching]))
    keys, values = np.concatenate(pairs), np.concatenate(heights)
    order = np.argsort(-values, kind="stable")
    _, first = np.unique(keys[order], return_index=True)
    chosen = order[np.sort(first)]
    return keys[chosen] >> 32, keys[chosen] & 0xFFFFFFFF, values[chosen]


def _owners(
    heights: NDArray[np.floating[Any]],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    passes: NDArray[np.floating[Any]],
    floor: float,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the candidate (number of its peak's basin) whose region extends into each basin, and the one to which the
    basin belongs; -1 for none.

    Basins are numbered in row-major order of their peaks; the passes come in descending order.
    """
    joined = list(range(len(heights)))

    def root(basin: int) -> int:
        while joined[basin] != basin:
            joined[basin] = joined[joined[basin]]
            basin = joined[basin]
        return basin

    level = heights.tolist()
    swallowed: list[tuple[int, int, float]] = []
    for a, b, height in zip(first.tolist(), second.tolist(), passes.tolist(), strict=True):
        high, low = root(a), root(b)
        if high == low:
            continue
        if (level[low], -low) > (level[high], -high):
            high, low = low, high
        joined[low] = high
        if level[low] / 2 <= height:  # the pass is not below half the lower peak, which is thus no candidate
            swallowed.append((low, high, height))
    owner = np.arange(len(heights), dtype=np.intp)
    owner[heights < floor] = -1
    candidate = owner.copy()
    for low, high, height in reversed(swallowed):  # a basin is decided before the basins joined to it
        inside = owner[high] != high or height >= level[high] / 2
        owner[low] = owner[high] if inside else -1
        candidate[low] = candidate[high]
    return owner, candidate


def _plateau_center(peak: NDArray[np.bool_], first: tuple[int, int]) -> tuple[int, int]:
    """Return the pixel nearest to the mean position of the plateau (in a mask of all highest pixels) with `first`."""
    plateaus = components(peak, connectivity=2)
    row, column = np.argwhere(plateaus == plateaus[first]).mean(axis=0)
    return int(np.floor(row + 0.5)), int(np.floor(column + 0.5))
