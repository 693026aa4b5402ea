"""Boundaries of label maps: normalized surface Dice, 95th percentile of the Hausdorff distance, boundary IoU.

A boundary pixel of a class has a pixel of another class, or the image's edge, at one of its four sides, as in MONAI
(`get_mask_edges`) and Metrics Reloaded. Distances are exact, between centers of boundary pixels, for all classes of a
full-size label map: nearby pixels are searched in order of distance, the rest with a k-d tree.

    nsd           share of boundary pixels of both maps with a boundary pixel of the other map within the tolerance
    hd95          larger of the two 95th percentiles of the distances from one boundary to the other
    boundary_iou  IoU of the pixels of the class within the tolerance of its own boundary (Cheng et al., CVPR 2021)

Sources: Nikolov et al., arXiv 1809.04430 (surface Dice, here by pixels as in MONAI); Maier-Hein et al., Nature Methods
2024 (Metrics Reloaded).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

Points = NDArray[np.intp]
"""(points, 2): row and column."""
Spacing = tuple[float, float]

RINGS, CROWDED_RINGS = 3, 12
"""Search radius in pixels around each boundary pixel; the second where boundaries fill the image."""

CROWDED = 0.05
"""Share of boundary pixels above which a box counts as full of boundaries."""

SLACK = 1e-6
"""Relative slack for distances that equal the tolerance except for rounding."""

PERCENTILE = 95.0

STRIP = 64
"""Rows processed together."""

WIDE = 100
"""Width of a band, in rows on each side, above which SciPy's distance transform is faster."""


@dataclass(frozen=True)
class Boundary:
    """Scores of one class in one image; NaN where they are not defined.

    Attributes:
        nsd: NaN if neither map has the class; 0 if only one has.
        hd95: NaN unless both maps have the class; in the unit of the spacing.
        iou: like `nsd`.
    """

    nsd: float
    hd95: float
    iou: float


NOTHING = Boundary(math.nan, math.nan, math.nan)


def boundaries(
    truth: NDArray[np.uint8], pred: NDArray[np.uint8], classes: int, spacing: Spacing, tolerance: float
) -> list[Boundary]:
    """Return the scores of every class 0 … classes - 1 of two label maps (rows, columns).

    Args:
        truth: larger values are void: these pixels have no class in either map.
        spacing: (row, column) size of a pixel.
        tolerance: distance up to which a boundary counts as correct, in the unit of the spacing.

    Examples:
        >>> truth, pred = np.zeros((2, 9, 9), np.uint8)
        >>> truth[3:6, 3:6] = pred[3:6, 4:7] = 1  # a square, and the same one column further
        >>> boundaries(truth, pred, classes=2, spacing=(0.5, 0.5), tolerance=0.5)[1]
        Boundary(nsd=1.0, hd95=0.5, iou=0.5)
    """
    pred = np.where(truth < classes, pred, truth) if int(truth.max(initial=0)) >= classes else pred
    reach = tolerance * (1 + SLACK)
    mine, its = edge_points(truth, classes), edge_points(pred, classes)
    ious = _boundary_ious(truth, pred, classes, spacing, reach)
    return [_scores(mine[c], its[c], float(ious[c]), spacing, reach) for c in range(classes)]


def edges(label: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the mask of pixels of a label map with another value, or the image's edge, at one of their four sides."""
    edge = np.zeros(label.shape, bool)
    for axis in (0, 1):
        before, after = (_part(axis, slice(None, -1)), _part(axis, slice(1, None)))
        differ = label[before] != label[after]
        edge[before] |= differ
        edge[after] |= differ
        edge[_part(axis, slice(0, 1))] = edge[_part(axis, slice(-1, None))] = True
    return edge


def edge_points(label: NDArray[np.uint8], classes: int) -> list[Points]:
    """Return the boundary pixels of every class of a label map."""
    flat = np.flatnonzero(edges(label))
    values = label.ravel()[flat]
    order = np.argsort(values, kind="stable")  # a radix sort for bytes
    ends = np.cumsum(np.bincount(values, minlength=256))[:classes]
    flat = flat[order]
    starts = np.concatenate([[0], ends[:-1]])
    return [np.stack(np.divmod(flat[a:b], label.shape[1]), axis=1) for a, b in zip(starts, ends, strict=True)]


def _scores(mine: Points, its: Points, iou: float, spacing: Spacing, reach: float) -> Boundary:
    if not len(mine) and not len(its):
        return NOTHING
    if not len(mine) or not len(its):
        return Boundary(0.0, math.nan, 0.0)
    forth, back = nearest(its, mine, spacing), nearest(mine, its, spacing)
    near = int((forth <= reach).sum() + (back <= reach).sum())
    hd95 = max(float(np.percentile(distances, PERCENTILE)) for distances in (forth, back))
    return Boundary(near / (len(mine) + len(its)), hd95, iou)


def nearest(points: Points, others: Points, spacing: Spacing) -> NDArray[np.float64]:
    """Return (points,): the distance of each point to the nearest of the others; neither may be empty."""
    low = np.minimum(points.min(axis=0), others.min(axis=0))
    size = np.maximum(points.max(axis=0), others.max(axis=0)) - low + 1
    rings = CROWDED_RINGS if len(others) > CROWDED * float(np.prod(size)) else RINGS
    wide = int(size[1]) + 2 * rings
    taken = np.zeros((int(size[0]) + 2 * rings) * wide, bool)
    taken[_flat(others - low + rings, wide)] = True
    at, left = _flat(points - low + rings, wide), np.arange(len(points))
    distances = np.full(len(points), np.inf)
    for down, right, distance in _around(rings, spacing):
        hit = taken[at + (down * wide + right)]
        distances[left[hit]] = distance
        at, left = at[~hit], left[~hit]
        if not len(left):
            return distances
    tree = cKDTree(others * np.asarray(spacing), leafsize=32, balanced_tree=False, compact_nodes=False)
    distances[left] = tree.query(points[left] * np.asarray(spacing))[0]
    return distances


def _flat(points: Points, wide: int) -> NDArray[np.intp]:
    flat: NDArray[np.intp] = points[:, 0] * wide + points[:, 1]
    return flat


@lru_cache(maxsize=64)
def _around(rings: int, spacing: Spacing) -> list[tuple[int, int, float]]:
    """Return steps (down, right) with their distances, nearest first, up to where nearer ones would be missing."""
    reach = (rings + 1) * min(spacing)
    steps = [
        (down, right, math.hypot(down * spacing[0], right * spacing[1]))
        for down in range(-rings, rings + 1)
        for right in range(-rings, rings + 1)
    ]
    return sorted((step for step in steps if step[2] < reach), key=lambda step: step[2])


def _boundary_ious(
    truth: NDArray[np.uint8], pred: NDArray[np.uint8], classes: int, spacing: Spacing, reach: float
) -> NDArray[np.float64]:
    """Return (classes,): IoU of the two bands of pixels of each class that are within `reach` of its boundary.

    Inside a class, its own boundary is nearer than any other, since every path to another class crosses it. So one band
    around all boundaries of a map contains those of all classes.
    """
    first, second = (_band(edges(label), spacing, reach) for label in (truth, pred))
    both = np.bincount(truth[first & second & (truth == pred)], minlength=classes)[:classes]
    each = [np.bincount(label[band], minlength=classes)[:classes] for label, band in ((truth, first), (pred, second))]
    with np.errstate(invalid="ignore"):  # for a class in neither map
        return np.asarray(both / (each[0] + each[1] - both))


def _band(edge: NDArray[np.bool_], spacing: Spacing, reach: float) -> NDArray[np.bool_]:
    """Return the pixels within `reach` of a boundary pixel: row-wise distances, combined over the rows of a disk."""
    margin = int(reach / spacing[0])
    if margin > WIDE:
        return np.asarray(distance_transform_edt(~edge, sampling=spacing) <= reach)
    aside = _steps_aside(edge, int(reach / spacing[1]) + 1)
    band = np.zeros_like(edge)
    rows = len(edge)
    for down in range(-min(margin, rows - 1), min(margin, rows - 1) + 1):
        wide = int(math.sqrt(max(0.0, reach**2 - (down * spacing[0]) ** 2)) / spacing[1])
        band[max(0, down) : rows + min(0, down)] |= aside[max(0, -down) : rows + min(0, -down)] <= wide
    return band


def _steps_aside(edge: NDArray[np.bool_], most: int) -> NDArray[np.unsignedinteger[Any]]:
    """Return the column distance of each pixel to the nearest boundary pixel of its row, at most `most`."""
    rows, length = edge.shape
    kind = np.int16 if 2 * (length + most) < 2**15 else np.int32
    columns, far = np.arange(length, dtype=kind), kind(length + most)
    steps = np.empty(edge.shape, np.min_scalar_type(most))
    for top in range(0, rows, STRIP):  # fits into a processor's cache
        part = edge[top : top + STRIP]
        left = np.maximum.accumulate(np.where(part, columns, -far), axis=1)
        right = np.minimum.accumulate(np.where(part, columns, 2 * far)[:, ::-1], axis=1)[:, ::-1]
        steps[top : top + STRIP] = np.minimum(np.minimum(columns - left, right - columns), most)
    return steps


def _part(axis: int, part: slice) -> tuple[Any, ...]:
    return (part, slice(None)) if axis == 0 else (slice(None), part)
