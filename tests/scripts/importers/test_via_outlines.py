"""Outlines of the VGG Image Annotator: shapes to pixels, with masks and areas worked out by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from scripts.importers.labels.merge import Tally
from scripts.importers.sources.inbreast_draw import draw_points
from scripts.importers.sources.via_outlines import Ellipse, Polygon, draw_outlines, parse_outline, union_box

SHAPE = (40, 30)
BOX = {"name": "rect", "x": 4, "y": 10, "width": 6, "height": 20}  # columns 4 to 9, rows 10 to 29


def polygon(*points: tuple[float, float], name: str = "polygon") -> dict[str, Any]:
    return {"name": name, "all_points_x": [x for x, _ in points], "all_points_y": [y for _, y in points]}


def drawn(*contents: dict[str, Any], shape: tuple[int, int] = SHAPE, tally: Tally | None = None) -> np.ndarray:
    outlines = [parse_outline(json.dumps(content)) for content in contents]
    return draw_outlines([outline for outline in outlines if outline], shape, tally or Tally())


# In 8 x 8 pixels: centers are at 0.5, 1.5, …; each row is what was worked out on paper
TRIANGLE = ["........", "........", ".X......", ".XX.....", ".XXX....", "........", "........", "........"]
CIRCLE = ["........", "........", "...XX...", "..XXXX..", "..XXXX..", "...XX...", "........", "........"]
WIDE = ["........", "........", "........", ".XXXXXX.", ".XXXXXX.", "........", "........", "........"]


@pytest.mark.parametrize(
    ("content", "picture"),
    [
        (polygon((1, 1.5), (1, 5), (4.5, 5)), TRIANGLE),
        (polygon((1, 1.5), (1, 5), (4.5, 5), name="polyline"), TRIANGLE),
        ({"name": "circle", "cx": 4, "cy": 4, "r": 2}, CIRCLE),
        ({"name": "ellipse", "cx": 4, "cy": 4, "rx": 2, "ry": 2, "theta": 0.7}, CIRCLE),
        ({"name": "ellipse", "cx": 4, "cy": 4, "rx": 3, "ry": 1}, WIDE),
        ({"name": "ellipse", "cx": 4, "cy": 4, "rx": 1, "ry": 3, "theta": math.pi / 2}, WIDE),
        ({"name": "rect", "x": 1, "y": 3, "width": 6, "height": 2}, WIDE),
    ],
    ids=["polygon", "polyline", "circle", "round", "ellipse", "turned", "rect"],
)
def test_shapes_by_hand(content: dict[str, Any], picture: list[str]) -> None:
    expected = np.array([[letter == "X" for letter in line] for line in picture])
    np.testing.assert_array_equal(drawn(content, shape=(8, 8)), expected)


def test_a_rotated_ellipse_points_down_to_the_right() -> None:
    """30 degrees from x toward y, which is down; its area is pi rx ry, and its ends are where trigonometry says."""
    content = {"name": "ellipse", "cx": 100.0, "cy": 80.0, "rx": 60.0, "ry": 20.0, "theta": math.pi / 6}
    mask = drawn(content, shape=(160, 200))
    assert mask.sum() == pytest.approx(math.pi * 60 * 20, rel=0.002)
    x, y = 100 + 57 * math.cos(math.pi / 6), 80 + 57 * math.sin(math.pi / 6)
    assert mask[int(y), int(x)]
    assert not mask[int(160 - y), int(x)]
    rows, columns = np.nonzero(mask)
    assert (rows.mean() + 0.5, columns.mean() + 0.5) == pytest.approx((80, 100), abs=0.05)
    left, top, right, bottom = union_box([Ellipse(100, 80, 60, 20, math.pi / 6)])
    half = math.sqrt((60 * math.cos(math.pi / 6)) ** 2 + (20 * math.sin(math.pi / 6)) ** 2)
    assert (left, right) == pytest.approx((100 - half, 100 + half))
    assert (rows.min(), rows.max() + 1) == (pytest.approx(top, abs=1), pytest.approx(bottom, abs=1))


def test_a_point_is_a_disk_and_a_thin_outline_its_points() -> None:
    tally = Tally()
    mask = drawn({"name": "point", "cx": 10.2, "cy": 20.9}, tally=tally)
    assert mask.sum() == 13  # the pixels at most 2 away from that of the point
    assert mask[20, 10]
    assert mask[18, 10]
    assert mask[20, 12]
    assert not tally.notes
    mask = drawn(polygon((3.1, 5.1), (3.4, 5.1), (3.4, 5.4)), tally=tally)
    assert np.argwhere(mask).tolist() == [[5, 3]]
    mask = drawn({"name": "ellipse", "cx": 7, "cy": 9, "rx": 0, "ry": 4}, tally=tally)
    assert np.argwhere(mask).tolist() == [[9, 7]]
    assert tally.notes["outlines hold no pixel's center, and were drawn as the pixels of their points"] == 2


@pytest.mark.parametrize(
    ("content", "area", "note"),
    [
        (polygon((-10, -10), (10, -10), (10, 10), (-10, 10)), 100, "leave their image"),
        (polygon((20, 30), (50, 30), (50, 60), (20, 60)), 100, "leave their image"),
        ({"name": "ellipse", "cx": 0, "cy": 20, "rx": 8, "ry": 8}, 104, "leave their image"),
        ({"name": "rect", "x": 31, "y": 3, "width": 6, "height": 2}, 0, "are outside their image"),
        ({"name": "point", "cx": 33, "cy": 3}, 0, "are outside their image"),
    ],
)
def test_outlines_are_clipped_by_the_image(content: dict[str, Any], area: int, note: str) -> None:
    tally = Tally()
    mask = drawn(content, tally=tally)
    assert mask.shape == SHAPE
    assert mask.sum() == area
    assert [text for text in tally.notes if note in text]


def test_self_crossing_outlines_and_overlaps() -> None:
    """Overlapping outlines are united; the crossing of one with itself follows the even-odd rule."""
    united = drawn(BOX, {"name": "rect", "x": 8, "y": 12, "width": 6, "height": 4})
    assert united.sum() == 6 * 20 + 6 * 4 - 2 * 4
    bow = drawn(polygon((0, 0), (10, 10), (10, 0), (0, 10)), shape=(10, 10))
    # row i has, on each side, the pixels whose centers are nearer to the edge than the crossing lines
    assert bow.sum() == 2 * sum(min(i, 9 - i) for i in range(10)) + 10
    assert not bow[0, 5]


@pytest.mark.parametrize("text", ["", "{}"])
def test_a_file_without_regions(text: str) -> None:
    assert parse_outline(text) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"name":"star"}', "its shape is 'star'; expected polygon, polyline"),
        ('{"name":"circle","cx":1,"cy":2}', "its r is 'None', not a number"),
        ('{"name":"circle","cx":1,"cy":2,"r":-1}', "its radii are -1 and -1"),
        ('{"name":"polygon","all_points_x":[1,2],"all_points_y":[1]}', "2 x and 1 y coordinates"),
        ('{"name":"polygon","all_points_x":[1,NaN],"all_points_y":[1,2]}', "not a number"),
        ('{"name":"polygon","all_points_x":5,"all_points_y":[1]}', "all_points_x is not a list"),
        ('{"name":"circle","cx":1,"cy":2,"r":1e300}', "its r is '1e\\+300', not a number"),
        ('{"name":"point","cx":1,"cy":%s}' % ("9" * 400), "its cy is '99999"),
        ("[" * 100_000, "nested too deeply"),
        ("[1]", "holds a list"),
        ('{"name":', "Expecting value"),
    ],
)
def test_damaged_outlines(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_outline(text)


def test_a_polygon_of_one_point_has_a_box() -> None:
    assert Polygon(((3.0, 4.0),)).box == (3.0, 4.0, 3.0, 4.0)


def test_points_are_pixels_once_each_and_beyond_the_border_the_last() -> None:
    mask = np.zeros((4, 3), bool)
    many = np.tile([(1.5, 2.5), (9.0, 9.0), (-5.0, 1.0)], (100_000, 1))  # a second or two if drawn one by one
    draw_points(many, 0.0, mask)
    assert list(zip(*np.nonzero(mask), strict=True)) == [(2, 1), (3, 2)]
    draw_points(np.zeros((0, 2)), 1.0, mask)
    draw_points(np.array([(0.5, 0.5)]), 1.0, mask)
    assert mask[:2].tolist() == [[True, True, False], [True, False, False]]
