"""Exact polygon rasterization: a pixel belongs to a polygon if its center is inside.

Pixel (row i, column j) covers [j, j+1] x [i, i+1], so its center is (x, y) = (j + 0.5, i + 0.5). A center exactly on an
edge belongs to the polygon on its right or below, so that polygons with a common edge share no pixel and leave none
out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transforms.errors import UserError
from transforms.reading.limits import CROSSINGS

_AT_ONCE = 2**21  # crossings, of about 60 bytes each
Ring = NDArray[np.float64]  # (points, 2) as (x, y); closed or not


def fill(mask: NDArray[np.bool_], rings: Sequence[Ring]) -> int:
    """Set the pixels of one polygon in `mask` (rows, columns) to True, and return their number.

    The rings (outline and holes in any order and direction) are filled by the even-odd rule, which also defines the
    inside of self-intersecting outlines. Memory depends on the polygon's bounding box, not on its outline's length.
    """
    edges = [edge for ring in rings for edge in (_edges(ring),) if edge is not None]
    if not edges:
        return 0
    x0, y0, x1, y1 = np.concatenate(edges).T
    rows, columns = mask.shape
    # rows whose center line the edge crosses: y0 <= row + 0.5 < y1
    first = np.clip(np.ceil(y0 - 0.5), 0, rows).astype(np.int64)
    last = np.clip(np.ceil(y1 - 0.5), 0, rows).astype(np.int64)
    count = last - first
    total = int(count.sum())
    if total == 0:
        return 0
    slope = (x1 - x0) / (y1 - y0)
    top, bottom = int(first[count > 0].min()), int(last.max())
    left, right = (
        int(np.clip(np.ceil(end - 0.5), 0, columns)) for end in (min(x0.min(), x1.min()), max(x0.max(), x1.max()))
    )
    box = np.zeros((bottom - top, right + 1 - left), np.uint8)
    for part in _parts(count):
        edge = np.repeat(np.arange(part.start, part.stop), count[part])
        row = np.arange(edge.size) - np.repeat(count[part].cumsum() - count[part], count[part]) + first[edge]
        x = x0[edge] + (row + 0.5 - y0[edge]) * slope[edge]
        column = np.clip(np.ceil(x - 0.5), left, right).astype(np.int64)  # first center right of the crossing
        np.bitwise_xor.at(box.reshape(-1), (row - top) * box.shape[1] + column - left, np.uint8(1))
    inside = np.bitwise_xor.accumulate(box, axis=1)[:, :-1].astype(bool)
    mask[top:bottom, left:right] |= inside
    return int(inside.sum())


def check_crossings(path: Path, rings: Iterable[Ring], rows: int) -> None:
    """Refuse outlines that would take minutes, such as zigzags of many long edges.

    Raises:
        UserError: all outlines of a file together cross more than `limits.CROSSINGS` rows of the image.
    """
    total = sum(np.abs(np.diff(np.clip(ring[:, 1], 0, rows), append=0.0)).sum() for ring in rings if len(ring))
    if total > CROSSINGS:
        raise UserError(
            f"{path}: its outlines cross {total:.0f} rows in all; expected at most {CROSSINGS}; redraw them"
        )


def _parts(count: NDArray[np.int64]) -> Iterator[slice]:
    """Yield consecutive edges whose crossings fit in memory; an edge crosses at most the rows of an image."""
    ends = count.cumsum()
    start = 0
    while start < count.size:
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _AT_ONCE, side="right")))
        yield slice(start, stop)
        start = stop


def _edges(ring: Ring) -> NDArray[np.float64] | None:
    """Return edges (x0, y0, x1, y1) with y0 < y1, so that a shared edge gives the same crossings on both sides."""
    if len(ring) < 3:
        return None
    edges = np.hstack([ring, np.roll(ring, -1, axis=0)])
    edges = edges[edges[:, 1] != edges[:, 3]]
    up = edges[:, 1] < edges[:, 3]
    return np.asarray(np.where(up[:, None], edges, edges[:, [2, 3, 0, 1]]))
