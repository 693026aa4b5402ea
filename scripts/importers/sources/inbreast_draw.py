"""Rasterization of INbreast's regions: outlines, single points, and the open line of the pectoral muscle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np

from scripts.importers.labels.classes import ClassTable
from scripts.importers.labels.merge import Canvas, Draw, Mask, Tally
from scripts.importers.labels.polygon_fill import Ring, check_crossings, fill
from scripts.importers.sources.inbreast_xml import MUSCLE, read_rois
from scripts.importers.writing.cases import Label
from transforms.vocabulary import plain


@dataclass(frozen=True)
class Settings:
    """Settings for drawing all annotations of one import.

    Attributes:
        table: class ids and names.
        by_size: whether smaller findings overlay larger ones, instead of precedence by class.
        radius: radius in pixels of the disk for a region of one or two points.
        smooth: see `merge.Canvas`.
    """

    table: ClassTable
    by_size: bool
    radius: float
    smooth: float


@dataclass(frozen=True)
class _Region:
    """A drawable region: its class, the area of its outline in square pixels, and the function that draws it."""

    target: int
    area: float
    is_muscle: bool
    draw: Draw


def read_label(
    findings: Path | None, muscle: Path | None, side: str | None, how: Settings, tally: Tally, shape: tuple[int, int]
) -> Label:
    """Return the label map (rows, columns) uint8 of an image's two annotation files; None for a missing file.

    Args:
        side: "L" or "R", or None if the file name does not state it.
    """
    regions = [one for path in (muscle, findings) if path for one in _regions(path, side, how, tally, shape)]
    canvas = Canvas(shape, how.table, tally, how.smooth)
    for target, members in groupby(_in_order(regions, how), key=lambda region: region.target):
        canvas.paint(target, [(how.table.names[target], region.draw) for region in members])
    return canvas.finish()


def _in_order(regions: Sequence[_Region], how: Settings) -> list[_Region]:
    """Sort regions from the first painted to the last: by class, or the muscle and then findings from large to small.

    Regions merged into the background come first and hide nothing.
    """
    rank = {target: place for place, target in enumerate(how.table.order)}
    if how.by_size:
        return sorted(regions, key=lambda one: (one.target > 0, not one.is_muscle, -one.area, rank[one.target]))
    return sorted(regions, key=lambda region: rank[region.target])


def _regions(path: Path, side: str | None, how: Settings, tally: Tally, shape: tuple[int, int]) -> Iterator[_Region]:
    content = read_rois(path)
    for reason, count in content.skipped.items():
        tally.notes[f"regions {reason}, and were skipped"] += count
    check_crossings(path, (points for _, points in content.areas), shape[0])
    known = {plain(name): target for name, target in how.table.known.items()}
    for name, points in content.areas:
        inside = np.clip(points, 0.0, (shape[1], shape[0]))
        if not np.array_equal(inside, points):
            tally.notes["regions have points outside their image, which were moved to its border"] += 1
        target, is_muscle = known[plain(name)], plain(name) == MUSCLE
        if is_muscle and len(inside) < 2:
            tally.notes["outlines of the muscle have one point, and were skipped"] += 1
            continue
        if is_muscle:
            inside = muscle_ring(inside, side, shape)
        if len(inside) < 3:
            yield _Region(target, 0.0, is_muscle, partial(draw_points, inside, how.radius))
        else:
            yield _Region(target, _area(inside), is_muscle, partial(_draw_outline, inside, tally))


def muscle_ring(line: Ring, side: str | None, shape: tuple[int, int]) -> Ring:
    """Close the line along the muscle through the image's upper corner on the side of the chest wall.

    The line ends some pixels inside the image: its upper end is extended straight up, its lower end straight to the
    chest wall. A line whose ends meet, within a tenth of its length, is already an outline.

    Args:
        line: points (n, 2) as (x, y), two or more.
        side: the chest wall is on the right in images of the right breast; None: on the side of the line.
    """
    if np.hypot(*(line[0] - line[-1])) < 0.1 * np.hypot(*np.diff(line, axis=0).T).sum():
        return line
    at_right = side == "R" if side else float(line[:, 0].mean()) > shape[1] / 2
    wall = float(shape[1]) if at_right else 0.0
    down = line if line[0, 1] <= line[-1, 1] else line[::-1]
    return np.vstack([[(wall, 0.0), (down[0, 0], 0.0)], down, [(wall, down[-1, 1])]])


def draw_points(points: Ring, radius: float, mask: Mask) -> None:
    """Draw a disk around the pixel of each point: the pixels whose centers are at most `radius` from its center."""
    rows, columns = mask.shape
    reach = int(radius)
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    near = dx**2 + dy**2 <= radius**2
    pixels = np.unique(np.asarray(points).reshape(-1, 2).astype(np.int64), axis=0)
    row = np.minimum(pixels[:, 1:], rows - 1) + dy[near]
    column = np.minimum(pixels[:, :1], columns - 1) + dx[near]
    there = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    mask[row[there], column[there]] = True


def _draw_outline(ring: Ring, tally: Tally, mask: Mask) -> None:
    """Fill an outline; if it contains no pixel center, draw the pixels of its points."""
    if fill(mask, [ring]) == 0:
        tally.notes["outlines hold no pixel's center, and were drawn as the pixels of their points"] += 1
        draw_points(ring, 0.0, mask)


def _area(ring: Ring) -> float:
    x, y = ring.T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))
