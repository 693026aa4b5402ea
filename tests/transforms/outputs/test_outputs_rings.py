"""Outlines along pixel edges: by hand, and for any map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scripts.importers.labels.polygon_fill import fill
from transforms.outputs.regions import find_regions
from transforms.outputs.rings import Ring, signed_area, trace

LABELS = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 2))


def traced(rows: list[list[int]]) -> dict[int, list[Ring]]:
    return trace(find_regions(np.array(rows, np.uint8))[0])


def test_one_pixel() -> None:
    rings = traced([[0, 0], [0, 1]])
    assert set(rings[1][0]) == {(1, 1), (2, 1), (2, 2), (1, 2)}
    assert signed_area(rings[1][0]) == 1


def test_a_hole_runs_the_other_way() -> None:
    outline, hole = traced([[1, 1, 1], [1, 0, 1], [1, 1, 1]])[1]
    assert set(outline) == {(0, 0), (3, 0), (3, 3), (0, 3)}
    assert set(hole) == {(1, 1), (2, 1), (2, 2), (1, 2)}
    assert (signed_area(outline), signed_area(hole)) == (9, -1)


def test_pixels_that_touch_at_corners_only_are_two_regions() -> None:
    assert sorted(traced([[1, 0], [0, 1]])) == [1, 2]


@pytest.mark.parametrize(
    ("rows", "areas"),
    [
        # the region closes around the middle at a corner: the hole touches the outline there
        ([[1, 1, 1], [1, 0, 1], [1, 1, 0]], [8, -1]),
        # two holes touch at a corner
        ([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], [16, -1, -1]),
    ],
    ids=["hole touches outline", "holes touch"],
)
def test_a_region_that_touches_itself_is_parted_there(rows: list[list[int]], areas: list[int]) -> None:
    rings = traced(rows)[1]
    assert [signed_area(ring) for ring in rings] == areas
    assert all(len(set(ring)) == len(ring) for ring in rings)


@settings(max_examples=150, deadline=None)
@given(LABELS)
def test_every_region_is_its_rings(label: np.ndarray) -> None:
    numbered, regions = find_regions(label)
    rings = trace(numbered)
    assert sorted(rings) == [region.number for region in regions]
    for region in regions:
        outline, *holes = rings[region.number]
        assert signed_area(outline) > 0
        assert all(signed_area(hole) < 0 for hole in holes)
        assert sum(map(signed_area, rings[region.number])) == region.pixels
        for ring in rings[region.number]:
            assert len(set(ring)) == len(ring) >= 4  # simple
            turns = zip(ring, ring[1:] + ring[:1], ring[2:] + ring[:2], strict=True)
            assert all((a[0] == b[0]) != (b[0] == c[0]) for a, b, c in turns)  # and every point a corner
        mask = np.zeros(label.shape, bool)
        fill(mask, [np.array(ring, float) for ring in rings[region.number]])
        assert np.array_equal(mask, numbered == region.number)


@settings(max_examples=50, deadline=None)
@given(LABELS)
def test_regions(label: np.ndarray) -> None:
    numbered, regions = find_regions(label)
    assert np.array_equal(numbered > 0, label > 0)
    for region in regions:
        inside = numbered == region.number
        rows, columns = np.nonzero(inside)
        assert set(label[inside]) == {region.label}
        assert inside.sum() == region.pixels
        assert (region.top, region.left) == (rows.min(), columns.min())
        assert (region.bottom, region.right) == (rows.max() + 1, columns.max() + 1)


def test_mean_probability_is_that_of_the_coarse_pixel_under_each_pixel() -> None:
    label = np.array([[1, 1, 0, 2], [1, 1, 0, 2]], np.uint8)
    probabilities = np.array([[[0.1, 0.2]], [[0.6, 0.3]], [[0.3, 0.5]]], np.float32)  # (3 classes, 1, 2)
    first, second = find_regions(label, probabilities)[1]
    assert first.probability == pytest.approx(0.6)
    assert second.probability == pytest.approx(0.5)


def test_a_map_of_background_only() -> None:
    numbered, regions = find_regions(np.zeros((3, 4), np.uint8))
    assert regions == []
    assert trace(numbered) == {}
