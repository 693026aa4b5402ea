"""Exact outlines of regions along the edges of their pixels.

Pixel (row i, column j) covers x from j to j + 1 and y from i to i + 1. Every side of a pixel that borders on another
region, or on none, is an edge. Edges are directed so that their own region is on the right in the direction of travel,
with x to the right and y downwards. Outer rings then run clockwise on the screen, and holes counterclockwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Point = tuple[int, int]
Ring = list[Point]


def trace(regions: NDArray[np.int32]) -> dict[int, list[Ring]]:
    """Region number to its rings of corners (x, y): the outline first, then holes; not closed.

    No ring visits a point twice, and rings of one region touch at most in points, so that each region is a valid
    polygon (OGC Simple Features, section 6.1.11.1).

    Args:
        regions: region map (rows, columns), 0 for none, whose regions are 4-connected.
    """
    starts, ends, numbers, upright = _edges(regions)
    points = (regions.shape[0] + 1) * (regions.shape[1] + 1)
    by_start = np.argsort(numbers * points + starts, kind="stable")
    by_end = np.argsort(numbers * points + ends, kind="stable")
    # at every point, a region has as many ending as starting edges; with two of each, the region touches itself at a
    # corner, and `_simple` splits there what is joined here
    following = np.empty(starts.size, np.int64)
    following[by_end] = by_start
    found: dict[int, list[Ring]] = {}
    columns = regions.shape[1] + 1
    for number, corners in _walk(starts, numbers, upright, following):
        for loop in _simple(corners):
            ring = [(corner % columns, corner // columns) for corner in loop]
            rings = found.setdefault(number, [])
            rings.insert(0 if signed_area(ring) > 0 else len(rings), ring)
    return found


def signed_area(ring: Ring) -> float:
    """Area inside a ring, negative if it runs counterclockwise on the screen, as holes do."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True)) / 2


def _edges(regions: NDArray[np.int32]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """First point, last point, region and whether vertical, of each edge; a point is y * (columns + 1) + x."""
    columns = regions.shape[1] + 1
    padded = np.pad(regions, 1)
    parts: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.bool_]]] = []
    for upright in (False, True):
        before, after = (padded[1:-1, :-1], padded[1:-1, 1:]) if upright else (padded[:-1, 1:-1], padded[1:, 1:-1])
        y, x = np.nonzero(before != after)
        first = y * columns + x
        second = first + (columns if upright else 1)
        forward, backward = (before, after) if upright else (after, before)
        for side, start, end in ((forward, first, second), (backward, second, first)):
            number = side[y, x].astype(np.int64)
            kept = number > 0
            parts.append((start[kept], end[kept], number[kept], np.full(int(kept.sum()), upright)))
    starts, ends, numbers, uprights = (np.concatenate(column) for column in zip(*parts, strict=True))
    return starts, ends, numbers, uprights


def _walk(
    starts: NDArray[Any], numbers: NDArray[Any], upright: NDArray[np.bool_], following: NDArray[Any]
) -> Iterator[tuple[int, list[int]]]:
    """Region and corners of each closed walk from edge to edge; points on a straight line are omitted."""
    corner = (upright != upright[following]).tolist()  # whether the direction changes at the end of an edge
    point, after, seen = starts[following].tolist(), following.tolist(), bytearray(starts.size)
    for edge, number in enumerate(numbers.tolist()):
        if seen[edge]:
            continue
        corners: list[int] = []
        while not seen[edge]:
            seen[edge] = 1
            if corner[edge]:
                corners.append(point[edge])
            edge = after[edge]
        yield number, corners


def _simple(corners: list[int]) -> list[list[int]]:
    """A closed walk, split where it visits a point again."""
    if len(set(corners)) == len(corners):
        return [corners]
    loops: list[list[int]] = []
    walk: list[int] = []
    place: dict[int, int] = {}
    for corner in corners:
        if corner in place:
            loop = walk[place[corner] :]
            del walk[place[corner] :]
            for other in loop:
                del place[other]
            loops.append(loop)
        place[corner] = len(walk)
        walk.append(corner)
    return [*loops, walk]
