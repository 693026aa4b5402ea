"""Polygons to pixels, exactly: a pixel belongs to a polygon if its centre is inside.

Pixel (row i, column j) covers [j, j+1] x [i, i+1], so its centre is (x, y) = (j + 0.5, i + 0.5). A centre that
lies exactly on an edge belongs to the polygon on its right or below, so that polygons which share an edge
share no pixel and leave none out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.float64]  # (points, 2) as (x, y); closed or not


def fill(mask: NDArray[np.bool_], rings: Sequence[Ring]) -> int:
    """Set the pixels of one polygon in `mask` (rows, columns) to True, and return how many it covers there.

    The rings - outline and holes in any order and direction - are filled by the even-odd rule, which is also
    how self-intersecting outlines get a defined inside.
    """
    edges = [edge for ring in rings for edge in (_edges(ring),) if edge is not None]
    if not edges:
        return 0
    x0, y0, x1, y1 = np.concatenate(edges).T
    rows, columns = mask.shape
    # rows whose centre line the edge crosses: y0 <= row + 0.5 < y1
    first = np.clip(np.ceil(y0 - 0.5), 0, rows).astype(np.int64)
    last = np.clip(np.ceil(y1 - 0.5), 0, rows).astype(np.int64)
    count = last - first
    total = int(count.sum())
    if total == 0:
        return 0
    edge = np.repeat(np.arange(count.size), count)
    row = np.arange(total) - np.repeat(count.cumsum() - count, count) + first[edge]
    x = x0[edge] + (row + 0.5 - y0[edge]) * ((x1 - x0) / (y1 - y0))[edge]
    column = np.clip(np.ceil(x - 0.5), 0, columns).astype(np.int64)  # first centre right of the crossing
    return _fill_between(mask, row, column)


def _fill_between(mask: NDArray[np.bool_], row: NDArray[Any], column: NDArray[Any]) -> int:
    """Toggle inside and outside at each crossing, from left to right, within the box of the crossings."""
    top, left, right = int(row.min()), int(column.min()), int(column.max())
    box = np.zeros((int(row.max()) + 1 - top, right - left + 1), np.uint8)
    np.bitwise_xor.at(box, (row - top, column - left), 1)
    inside = np.bitwise_xor.accumulate(box, axis=1)[:, :-1].astype(bool)
    mask[top : top + inside.shape[0], left:right] |= inside
    return int(inside.sum())


def _edges(ring: Ring) -> NDArray[np.float64] | None:
    """Edges (x0, y0, x1, y1) with y0 < y1, so that a shared edge gives the same crossings on both sides."""
    if len(ring) < 3:
        return None
    edges = np.hstack([ring, np.roll(ring, -1, axis=0)])
    edges = edges[edges[:, 1] != edges[:, 3]]
    up = edges[:, 1] < edges[:, 3]
    return np.asarray(np.where(up[:, None], edges, edges[:, [2, 3, 0, 1]]))
