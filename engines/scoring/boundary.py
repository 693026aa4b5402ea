"""Boundaries of label maps: normalized surface Dice, 95th percentile of the Hausdorff distance, boundary IoU.

A boundary pixel of a class has a pixel of another class, or the image's edge, at one of its four sides: as in MONAI
(`get_mask_edges`) and Metrics Reloaded. Distances are between centers of boundary pixels, exact, of all classes of a
full-size label map at once: pixels around are looked at in the order of their distance, the rest by a k-d tree.

    nsd           share of the boundary pixels of both maps that have one of the other within the tolerance
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
from scipy.spatial import cKDTree

Points = NDArray[np.intp]
"""(points, 2): row and column."""
Spacing = tuple[float, float]

RINGS, CROWDED_RINGS = 3, 12
"""Pixels around each boundary pixel that are looked at, and where boundaries fill the image."""

CROWDED = 0.05
"""Share of a box's pixels that are boundary from which it is called full."""

SLACK = 1e-6
"""Relative, of distances that equal the tolerance but for rounding."""

PERCENTILE = 95.0


@dataclass(frozen=True)
class Boundary:
    """Scores of one class in one image; NaN where they are not defined.

    Attributes:
        nsd: NaN where neither map has the class; 0 where one has.
        hd95: NaN where one map has not got the class; in the unit of the spacing.
        iou: as `nsd`.
    """

    nsd: float
    hd95: float
    iou: float


NOTHING = Boundary(math.nan, math.nan, math.nan)


def boundaries(
    truth: NDArray[np.uint8], pred: NDArray[np.uint8], classes: int, spacing: Spacing, tolerance: float
) -> list[Boundary]:
    """Scores of every class 0 … classes - 1 of two label maps (rows, columns).

    Args:
        truth: larger values are void: no class there, in neither map.
        spacing: (row, column) size of a pixel.
        tolerance: distance up to which a boundary is right, in the unit of the spacing.

    Examples:
        >>> truth, pred = np.zeros((2, 9, 9), np.uint8)
        >>> truth[3:6, 3:6] = pred[3:6, 4:7] = 1  # a square, and the same one column further
        >>> boundaries(truth, pred, classes=2, spacing=(0.5, 0.5), tolerance=0.5)[1]
        Boundary(nsd=1.0, hd95=0.5, iou=0.5)
    """
    pred = np.where(truth < classes, pred, truth) if int(truth.max(initial=0)) >= classes else pred
    mine, its = edge_points(truth, classes), edge_points(pred, classes)
    return [_scores(c, truth, pred, mine[c], its[c], spacing, tolerance) for c in range(classes)]


def edge_points(label: NDArray[np.uint8], classes: int) -> list[Points]:
    """The boundary pixels of every class of a label map."""
    edge = np.zeros(label.shape, bool)
    for axis in (0, 1):
        before, after = (_part(axis, slice(None, -1)), _part(axis, slice(1, None)))
        differ = label[before] != label[after]
        edge[before] |= differ
        edge[after] |= differ
        edge[_part(axis, slice(0, 1))] = edge[_part(axis, slice(-1, None))] = True
    flat = np.flatnonzero(edge)
    values = label.ravel()[flat]
    order = np.argsort(values, kind="stable")  # of bytes a radix sort
    ends = np.cumsum(np.bincount(values, minlength=256))[:classes]
    flat = flat[order]
    starts = np.concatenate([[0], ends[:-1]])
    return [np.stack(np.divmod(flat[a:b], label.shape[1]), axis=1) for a, b in zip(starts, ends, strict=True)]


def _scores(
    c: int,
    truth: NDArray[np.uint8],
    pred: NDArray[np.uint8],
    mine: Points,
    its: Points,
    spacing: Spacing,
    tolerance: float,
) -> Boundary:
    if not len(mine) and not len(its):
        return NOTHING
    if not len(mine) or not len(its):
        return Boundary(0.0, math.nan, 0.0)
    forth, back = nearest(its, mine, spacing), nearest(mine, its, spacing)
    reach = tolerance * (1 + SLACK)
    near = int((forth <= reach).sum() + (back <= reach).sum())
    hd95 = max(float(np.percentile(distances, PERCENTILE)) for distances in (forth, back))
    return Boundary(near / (len(mine) + len(its)), hd95, _boundary_iou(c, truth, pred, mine, its, spacing, reach))


def nearest(points: Points, others: Points, spacing: Spacing) -> NDArray[np.float64]:
    """(points,): distance of each to the nearest of the others; both with at least one."""
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
    """Steps (down, right) and their distances, the nearest first, as far as no nearer one is left out."""
    reach = (rings + 1) * min(spacing)
    steps = [
        (down, right, math.hypot(down * spacing[0], right * spacing[1]))
        for down in range(-rings, rings + 1)
        for right in range(-rings, rings + 1)
    ]
    return sorted((step for step in steps if step[2] < reach), key=lambda step: step[2])


def _boundary_iou(
    c: int,
    truth: NDArray[np.uint8],
    pred: NDArray[np.uint8],
    mine: Points,
    its: Points,
    spacing: Spacing,
    reach: float,
) -> float:
    """IoU of the two bands of pixels of the class that are within `reach` of its boundary."""
    low = np.minimum(mine.min(axis=0), its.min(axis=0))
    high = np.maximum(mine.max(axis=0), its.max(axis=0)) + 1
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    first, second = (
        _band(label[box] == c, points - low, spacing, reach) for label, points in ((truth, mine), (pred, its))
    )
    either = int((first | second).sum())
    return int((first & second).sum()) / either


def _band(mask: NDArray[np.bool_], edge: Points, spacing: Spacing, reach: float) -> NDArray[np.bool_]:
    """The pixels of a mask within `reach` of its boundary pixels."""
    band = np.zeros_like(mask)
    band[edge[:, 0], edge[:, 1]] = True
    inner = int(mask.sum()) - len(edge)
    rows = 2 * int(reach / spacing[0]) + 1
    if not inner:
        return band
    if inner < rows * len(edge):
        points = np.argwhere(mask & ~band)
        near = points[nearest(points, edge, spacing) <= reach]
        band[near[:, 0], near[:, 1]] = True
        return band
    return mask & _disks(edge, mask.shape, spacing, reach)


def _disks(points: Points, shape: tuple[int, ...], spacing: Spacing, reach: float) -> NDArray[np.bool_]:
    """Pixels within `reach` of one of the points: their disks, painted row by row."""
    rows, columns = shape
    steps = np.zeros(rows * (columns + 1), np.int32)
    margin = int(reach / spacing[0])
    for down in range(-margin, margin + 1):
        wide = int(math.sqrt(max(0.0, reach**2 - (down * spacing[0]) ** 2)) / spacing[1])
        at = points[:, 0] + down
        inside = (at >= 0) & (at < rows)
        start, column = at[inside] * (columns + 1), points[inside, 1]
        np.add.at(steps, start + np.maximum(column - wide, 0), 1)
        np.add.at(steps, start + np.minimum(column + wide + 1, columns), -1)
    painted: NDArray[np.bool_] = np.cumsum(steps.reshape(rows, columns + 1), axis=1)[:, :-1] > 0
    return painted


def _part(axis: int, part: slice) -> tuple[Any, ...]:
    return (part, slice(None)) if axis == 0 else (slice(None), part)
