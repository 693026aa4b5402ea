"""Polygons become exactly the pixels whose centers are inside."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.importers.labels.polygon_fill import fill


def box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)


def filled(*rings: np.ndarray, shape: tuple[int, int] = (20, 30)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    fill(mask, rings)
    return mask


def test_pixel_edges_and_row_column_order() -> None:
    mask = filled(box(4, 2, 9, 5))
    assert mask.sum() == 15
    assert mask[2:5, 4:9].all()


@pytest.mark.parametrize(("shift", "columns"), [(0.49, slice(4, 9)), (0.51, slice(5, 10)), (0.5, slice(4, 9))])
def test_centre_rule(shift, columns) -> None:
    mask = filled(box(4 + shift, 2, 9 + shift, 3))
    assert np.flatnonzero(mask[2]).tolist() == list(range(30))[columns]


AREAS = {
    "two holes": ([box(1, 1, 19, 11), box(3, 3, 6, 7), box(10, 2, 12, 10)], 180 - 12 - 16),
    "closed ring": ([np.vstack([box(1, 1, 5, 4), [[1, 1]]])], 12),
    "clockwise": ([box(1, 1, 5, 4)[::-1]], 12),
    "hole given first": ([box(3, 3, 6, 7), box(1, 1, 19, 11)], 168),
    "beyond all borders": ([box(-50, -60, 90, 80)], 600),
    "partly outside": ([box(-5, -5, 3, 4)], 12),
    "wholly outside": ([box(40, 2, 50, 9)], 0),
    "left of the image": ([box(-9, 2, -3, 9)], 0),
    "half square": ([np.array([(0, 0), (10, 0), (0, 10)], float)], 45),  # 55 would count the diagonal twice
    "bow tie": ([np.array([(0, 0), (8, 8), (8, 0), (0, 8)], float)], None),
    "two points": ([np.array([(0, 0), (9, 9)], float)], 0),
    "no point": ([np.zeros((0, 2))], 0),
    "flat": ([np.array([(0, 3), (9, 3), (4, 3)], float)], 0),
}


@pytest.mark.parametrize("case", AREAS)
def test_areas_counted_by_hand(case) -> None:
    rings, area = AREAS[case]
    mask = np.zeros((20, 30), bool)
    covered = fill(mask, rings)
    assert covered == mask.sum()
    if area is None:  # a bow tie has two lobes and nothing between them
        assert mask[4, 1]
        assert mask[4, 6]
        assert not mask[0, 4]
        assert not mask[7, 4]
    else:
        assert covered == area


def test_multipolygon_with_holes_and_an_island_in_a_donut() -> None:
    mask = np.zeros((20, 30), bool)
    donut = [box(0, 0, 12, 12), box(2, 2, 10, 10)]
    island = [box(4, 4, 8, 8), box(5, 5, 7, 7)]
    fill(mask, donut)
    fill(mask, island)
    assert mask.sum() == (144 - 64) + (16 - 4)
    one = filled(*donut, *island)  # as rings of one polygon
    np.testing.assert_array_equal(mask, one)


COORDINATE = st.integers(-8, 40).map(lambda n: n / 2) | st.floats(-4, 20, width=32)
POINT = st.tuples(COORDINATE, COORDINATE)


def inside(x: float, y: float, rings: list[list[tuple[float, float]]]) -> bool:
    """Even-odd, one point at a time, written as differently as possible."""
    crossings = 0
    for ring in rings:
        for (xa, ya), (xb, yb) in zip(ring, ring[1:] + ring[:1], strict=True):
            (x0, y0), (x1, y1) = sorted([(xa, ya), (xb, yb)], key=lambda point: point[1])
            if y0 <= y < y1 and x0 + (y - y0) * ((x1 - x0) / (y1 - y0)) <= x:
                crossings += 1
    return crossings % 2 == 1


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(POINT, min_size=3, max_size=8), min_size=1, max_size=3))
def test_any_polygon_against_a_point_by_point_count(rings) -> None:
    mask = filled(*[np.array(ring, float) for ring in rings], shape=(12, 14))
    expected = [[inside(j + 0.5, i + 0.5, rings) for j in range(14)] for i in range(12)]
    assert mask.tolist() == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(1, 19), st.floats(1, 11)), min_size=1, max_size=12))
def test_two_halves_share_no_pixel_and_leave_none_out(cut) -> None:
    """A zigzag from left to right cuts a box in two; every pixel belongs to exactly one half."""
    cut = [(0.0, 6.0), *sorted(cut), (20.0, 6.0)]
    upper, lower = np.zeros((12, 20), bool), np.zeros((12, 20), bool)
    fill(upper, [np.array([*cut, (20, 0), (0, 0)], float)])
    fill(lower, [np.array([*cut, (20, 12), (0, 12)], float)])
    assert (upper ^ lower).all()


def test_a_large_circle_has_its_area() -> None:
    angle = np.linspace(0, 2 * math.pi, 2000, endpoint=False)
    ring = np.column_stack([500 + 400 * np.cos(angle), 500 + 400 * np.sin(angle)])
    assert filled(ring, shape=(1000, 1000)).sum() == pytest.approx(math.pi * 400**2, rel=1e-3)
