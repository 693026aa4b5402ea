"""Masks to polygons along pixel edges, and to the GeoJSON that QuPath writes and reads.

A polygon runs exactly along pixel edges, so that filling it by pixel centres gives the mask back, bit for bit.
Pixels that touch at a corner only are apart. Corners are (x, y) = (column, row), with the origin at the outer
corner of the first pixel, as in QuPath.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import numpy as np
from scipy import ndimage

Ring = list[tuple[int, int]]


def mask_polygons(mask: np.ndarray) -> list[list[Ring]]:
    """Outline a bool mask (H, W): for each connected area [outer ring, hole, …]; every ring simple and closed."""
    padded = np.pad(mask.astype(bool), 1)
    areas, count = ndimage.label(padded)
    shells: list[Ring] = [[] for _ in range(count)]
    holes: list[list[Ring]] = [[] for _ in range(count)]
    for ring in _rings(padded):
        x, y = min(ring, key=lambda corner: (corner[1], corner[0]))
        # (x, y) is the ring's first corner in reading order, so the pixel to its lower right is enclosed
        if mask[y, x]:
            shells[areas[y + 1, x + 1] - 1] = ring
        else:
            holes[areas[y, x + 1] - 1].append(ring)
    return [[shell, *inner] for shell, inner in zip(shells, holes, strict=True)]


def _rings(padded: np.ndarray) -> list[Ring]:
    """Closed rings of a mask (H + 2, W + 2) with an empty border: only corners, none twice."""
    x, y, by_row, by_column = _edges(padded)
    corners = list(zip(x.tolist(), y.tolist(), strict=True))
    left = [True] * len(corners)
    rings = []
    for start in range(len(corners)):
        if not left[start]:
            continue
        loop, at = [], start
        while left[at]:  # along the row to a corner, along the column to the next
            turn = by_row[at]
            left[at] = left[turn] = False
            loop += [corners[at], corners[turn]]
            at = by_column[turn]
        rings += _simple(loop)
    return rings


def _edges(padded: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[int], list[int]]:
    """Corners x (n,) and y (n,), and for each corner the one at the other end of its row edge and column edge.

    Along a row, the outline's corners open and close edges in turn; along a column too. A corner where two pixels
    touch diagonally closes one edge and opens the next, so it is in the list twice.
    """
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    odd = a ^ b ^ c ^ d
    falling, rising = a & d & ~b & ~c, b & c & ~a & ~d
    y, x = np.nonzero(odd | falling | rising)
    twice = 1 + (falling | rising)[y, x]
    second = _counter(twice)
    y, x = np.repeat(y, twice), np.repeat(x, twice)
    # Which of the two goes with which pixel: the left edge's with the upper edge's if the upper left pixel is set
    in_column = np.where(rising[y, x], 1 - second, second)
    return x, y, _partners(np.lexsort((second, x, y))), _partners(np.lexsort((in_column, y, x)))


def _counter(repeats: np.ndarray) -> np.ndarray:
    """0, 1, … within each group of the given sizes."""
    ends = np.cumsum(repeats)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - repeats, repeats)


def _partners(order: np.ndarray) -> list[int]:
    """Pair the first with the second of the order, the third with the fourth, …"""
    partner = np.empty_like(order)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    return partner.tolist()


def _simple(loop: Ring) -> list[Ring]:
    """Cut a loop where it comes back to a corner; close every ring."""
    if len(set(loop)) == len(loop):
        return [[*loop, loop[0]]]
    rings, path, place = [], [], {}
    for corner in loop:
        if corner in place:
            cut = place[corner]
            ring, path = path[cut:], path[:cut]
            for gone in ring:
                del place[gone]
            rings.append([*ring, ring[0]])
        place[corner] = len(path)
        path.append(corner)
    rings.append([*path, path[0]])
    return rings


def feature(name: str, color: tuple[int, int, int], mask: np.ndarray, key: str) -> dict[str, Any]:
    """A QuPath annotation of a non-empty mask (H, W); its id is derived from `key`."""
    polygons = mask_polygons(mask)
    if len(polygons) == 1:
        geometry = {"type": "Polygon", "coordinates": polygons[0]}
    else:
        geometry = {"type": "MultiPolygon", "coordinates": polygons}
    properties = {"objectType": "annotation", "classification": {"name": name, "color": list(color)}}
    identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"mammoseg:{key}:{name}"))
    return {"type": "Feature", "id": identity, "geometry": geometry, "properties": properties}


def feature_collection(masks: dict[str, np.ndarray], colors: dict[str, tuple[int, int, int]], key: str) -> str:
    """GeoJSON text with one annotation a structure."""
    features = [feature(name, colors[name], mask, key) for name, mask in masks.items()]
    return json.dumps({"type": "FeatureCollection", "features": features}, separators=(",", ":")) + "\n"
