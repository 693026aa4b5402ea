"""Rasterization of outlines of the VGG Image Annotator (VIA 2): polygons, ellipses, rectangles, lines, points.

Source: VIA's own drawing (via.js, github.com/ox-vgg/via): coordinates are pixels of the original image, x to the right
and y down; an ellipse has its center (cx, cy), its half axes (rx, ry) and `theta`, the rotation in radians from the x
axis toward the y axis, which older exports leave out.

Pixel (row i, column j) covers [j, j+1] x [i, i+1] and belongs to an outline if its center is inside, as in
`polygon_fill`. An outline is clipped by its image.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scripts.importers.labels.merge import Tally, size_text
from scripts.importers.labels.point_radius import POINT_RADIUS
from scripts.importers.labels.polygon_fill import check_crossings, fill
from scripts.importers.sources.inbreast_draw import draw_points
from transforms.errors import UserError
from transforms.reading.limits import DRAWN

Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels."""

MOST = 1e7
"""Greatest coordinate or half axis, in pixels."""

OVERHANG = 0.2
"""Share of an image's width or height by which its outlines may leave it; in CDD-CESM it is below 0.04."""

SHAPES = ("polygon", "polyline", "ellipse", "circle", "rect", "point")


@dataclass(frozen=True)
class Polygon:
    """A closed outline; one or two points mark a position without extent.

    Attributes:
        points: (x, y) pairs; the last is joined to the first.
    """

    points: tuple[tuple[float, float], ...]

    @property
    def box(self) -> Box:
        x, y = zip(*self.points, strict=True)
        return min(x), min(y), max(x), max(y)

    def draw(self, mask: Mask) -> int:
        """Set the pixels inside to True, and return how many there are."""
        if len(self.points) < 3:
            draw_points(np.array(self.points), POINT_RADIUS, mask)
            return 1
        return fill(mask, [np.array(self.points)])

    def mark(self, mask: Mask) -> None:
        """Set the pixels of the points to True."""
        rows, columns = mask.shape
        inside = [(x, y) for x, y in self.points if 0 <= x <= columns and 0 <= y <= rows]
        draw_points(np.array(inside).reshape(-1, 2), 0.0, mask)


@dataclass(frozen=True)
class Ellipse:
    """An ellipse.

    Attributes:
        x, y: center.
        rx, ry: half axes before rotation.
        theta: rotation in radians from the x axis toward the y axis (clockwise on the screen).
    """

    x: float
    y: float
    rx: float
    ry: float
    theta: float = 0.0

    @property
    def box(self) -> Box:
        cosine, sine = math.cos(self.theta), math.sin(self.theta)
        width = math.hypot(self.rx * cosine, self.ry * sine)
        height = math.hypot(self.rx * sine, self.ry * cosine)
        return self.x - width, self.y - height, self.x + width, self.y + height

    def draw(self, mask: Mask) -> int:
        """Set the pixels inside to True, and return how many there are."""
        if self.rx == 0.0 or self.ry == 0.0:
            return 0
        left, top, right, bottom = self.box
        rows, columns = mask.shape
        row = np.arange(max(0, math.floor(top)), min(rows, math.ceil(bottom)))
        column = np.arange(max(0, math.floor(left)), min(columns, math.ceil(right)))
        dy, dx = np.meshgrid(row + 0.5 - self.y, column + 0.5 - self.x, indexing="ij")
        cosine, sine = math.cos(self.theta), math.sin(self.theta)
        along, across = (dx * cosine + dy * sine) / self.rx, (dy * cosine - dx * sine) / self.ry
        inside = along**2 + across**2 <= 1.0
        if inside.any():
            mask[row[0] : row[-1] + 1, column[0] : column[-1] + 1] |= inside
        return int(inside.sum())

    def mark(self, mask: Mask) -> None:
        """Set the pixel of the center to True."""
        Polygon(((self.x, self.y),)).mark(mask)


Outline = Polygon | Ellipse


class Drawable(Protocol):
    """A region that can be drawn on a mask, such as an outline."""

    @property
    def box(self) -> Box:
        """Bounding box."""

    def draw(self, mask: Mask) -> int:
        """Set the pixels inside to True, and return their number."""

    def mark(self, mask: Mask) -> None:
        """Set the pixels of a region that contains no pixel center to True."""


def parse_outline(text: str) -> Outline | None:
    """Return the outline of a cell `region_shape_attributes`, or None if the cell holds none (a file without regions).

    Raises:
        ValueError: not in VIA's form; the message states the reason.
    """
    try:
        return outline_of(json.loads(text or "{}"))
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def outline_of(content: Any) -> Outline | None:
    """Return the outline that a region's object `shape_attributes` describes, or None if it is empty.

    Raises:
        ValueError: not in VIA's form; the message states the reason.
    """
    if not isinstance(content, dict):
        raise ValueError(f"holds a {type(content).__name__} instead of an object")
    if not content:
        return None
    shape = content.get("name")
    if shape not in SHAPES:
        raise ValueError(f"its shape is {str(shape)[:40]!r}; expected {', '.join(SHAPES)}")
    if shape in ("polygon", "polyline"):
        xs, ys = (numbers(content, key) for key in ("all_points_x", "all_points_y"))
        if len(xs) != len(ys) or not xs:
            raise ValueError(f"it has {len(xs)} x and {len(ys)} y coordinates")
        return Polygon(tuple(zip(xs, ys, strict=True)))
    if shape == "rect":
        x, y, width, height = _fields(content, "x", "y", "width", "height")
        return Polygon(((x, y), (x + width, y), (x + width, y + height), (x, y + height)))
    if shape == "point":
        return Polygon(((*_fields(content, "cx", "cy"),),))  # type: ignore[arg-type]
    names = ("cx", "cy", "r", "r") if shape == "circle" else ("cx", "cy", "rx", "ry")
    x, y, rx, ry = _fields(content, *names)
    if min(rx, ry) < 0:
        raise ValueError(f"its radii are {rx:g} and {ry:g}")
    return Ellipse(x, y, rx, ry, _number(content.get("theta", 0.0), "theta"))


def _fields(content: Mapping[str, Any], *names: str) -> tuple[float, ...]:
    return tuple(_number(content.get(name), name) for name in names)


def numbers(content: Mapping[str, Any], name: str) -> list[float]:
    """Return a list of coordinates.

    Raises:
        ValueError: not a list, or it holds something else than numbers.
    """
    values = content.get(name)
    if not isinstance(values, list):
        raise ValueError(f"its {name} is not a list")
    return [_number(value, name) for value in values]


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MOST:
        raise ValueError(f"its {name} is {str(value)[:20]!r}, not a number")
    return float(value)


def union_box(outlines: Sequence[Drawable]) -> Box:
    """Return the bounding box of one or more outlines."""
    left, top, right, bottom = zip(*(outline.box for outline in outlines), strict=True)
    return min(left), min(top), max(right), max(bottom)


def check_overhang(path: Path, box: Box, shape: tuple[int, int], advice: str) -> None:
    """Refuse outlines that are far outside their image, as if it had been resized.

    Args:
        box: bounding box of all outlines of the image.
        shape: (rows, columns).

    Raises:
        UserError: the outlines leave the image by more than `OVERHANG` of a side.
    """
    (left, top, right, bottom), (rows, columns) = box, shape
    beyond = max(-left, right - columns) / columns, max(-top, bottom - rows) / rows
    if max(beyond) > OVERHANG:
        raise UserError(
            f"{path}: is {size_text(shape)} (rows x columns), but its outlines reach to row {bottom:.0f}, "
            f"column {right:.0f}: a resized copy? {advice}"
        )


def check_outlines(path: Path, outlines: Sequence[Drawable], shape: tuple[int, int]) -> None:
    """Refuse outlines that would take minutes to draw.

    Raises:
        UserError: too many crossings of polygons, or more pixels in the boxes of ellipses than `limits.DRAWN`.
    """
    check_crossings(path, (np.array(one.points) for one in outlines if isinstance(one, Polygon)), shape[0])
    ellipses = [one for one in outlines if isinstance(one, Ellipse)]
    total = sum(min(shape[0], 2 * max(one.rx, one.ry)) * min(shape[1], 2 * max(one.rx, one.ry)) for one in ellipses)
    if total > DRAWN:
        raise UserError(f"{path}: its {len(ellipses)} ellipses cover {total:.0f} pixels; expected at most {DRAWN}")


def draw_outlines(outlines: Sequence[Drawable], shape: tuple[int, int], tally: Tally) -> Mask:
    """Return the mask (rows, columns) of the pixels inside any outline; unusual outlines are counted."""
    mask = np.zeros(shape, bool)
    for outline in outlines:
        left, top, right, bottom = outline.box
        if right < 0 or bottom < 0 or left > shape[1] or top > shape[0]:
            tally.notes["outlines are outside their image, and were skipped"] += 1
            continue
        if left < 0 or top < 0 or right > shape[1] or bottom > shape[0]:
            tally.notes["outlines leave their image, and were clipped by it"] += 1
        if outline.draw(mask) == 0:
            tally.notes["outlines hold no pixel's center, and were drawn as the pixels of their points"] += 1
            outline.mark(mask)
    return mask
