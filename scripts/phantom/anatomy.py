"""Anatomy of a synthetic subject: position of breast, nipple and pectoral muscle in each view."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage

from scripts.phantom.random_draws import Draws

FIELD_MM = (240.0, 180.0)  # height and width of the detector's field
VIEWS = ("CC", "MLO")
SIDES = ("L", "R")


@dataclass(frozen=True)
class Grid:
    """Pixel centers in mm: `rows` (H,) from the top, `columns` (W,) from the chest wall."""

    height: int

    @property
    def spacing(self) -> float:
        """Pixel size in mm."""
        return FIELD_MM[0] / self.height

    @cached_property
    def rows(self) -> np.ndarray:
        return (np.arange(self.height) + 0.5) * self.spacing

    @cached_property
    def columns(self) -> np.ndarray:
        return (np.arange(round(FIELD_MM[1] / self.spacing)) + 0.5) * self.spacing

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), len(self.columns)

    def polar(self, row: float, column: float) -> tuple[np.ndarray, np.ndarray]:
        """Return distance (H, W) in mm from a point, and angle (H, W) in radians, 0 toward the chest wall."""
        down, back = self.rows[:, None] - row, column - self.columns[None, :]
        return np.sqrt(down**2 + back**2), np.arctan2(down, back)


@dataclass(frozen=True)
class Breast:
    """One breast of a subject, before compression in a view. Lengths in mm."""

    depth: float  # chest wall to nipple
    half_height: float  # in CC
    roundness: float  # 0 conical, 1 round
    density: float  # share of the breast that is gland
    streaks: float  # share of the gland texture that points toward the nipple, 0-1
    fat_margin: float  # subcutaneous fat between skin and gland
    lobes: float  # size of the gland's lobes


def subject_breasts(draw: Draws) -> dict[str, Breast]:
    """Draw the left and right breast of a subject: similar, but not equal."""
    depth = draw.uniform(82, 148)
    base = Breast(
        depth=depth,
        half_height=min(depth * draw.uniform(0.78, 1.02), 111),
        roundness=draw.uniform(0.1, 0.9),
        density=draw.choose((0.1, 0.18, 0.28, 0.4, 0.52)) * draw.uniform(0.85, 1.15),
        streaks=draw.uniform(0.25, 0.75),
        fat_margin=draw.uniform(5, 11),
        lobes=draw.uniform(13, 22),
    )
    return {side: _vary(base, draw) for side in SIDES}


def _vary(base: Breast, draw: Draws) -> Breast:
    return replace(
        base,
        depth=base.depth * draw.uniform(0.96, 1.04),
        half_height=base.half_height * draw.uniform(0.96, 1.03),
        density=base.density * draw.uniform(0.9, 1.1),
    )


@dataclass(frozen=True)
class Anatomy:
    """One breast in one view. Masks and distances are (H, W)."""

    nipple_at: tuple[float, float]  # (row, column) in mm
    breast: np.ndarray  # bool: everything inside the skin, nipple included
    nipple: np.ndarray  # bool
    pectoral: np.ndarray  # bool
    skin_distance: np.ndarray  # mm below the skin, 0 in the air


def compressed(breast: Breast, view: str, grid: Grid, draw: Draws) -> Anatomy:
    """Project a breast onto the detector."""
    outline, nipple_at = _cc_outline(breast, draw) if view == "CC" else _mlo_outline(breast, draw)
    body = _inside(_through(outline), grid)
    nipple = _nipple(nipple_at, grid, draw) & (grid.columns[None, :] > nipple_at[1] - 2.5)
    pectoral = _pectoral(outline, view, grid, draw) & body
    whole = body | nipple
    return Anatomy(nipple_at, whole, nipple, pectoral, _skin_distance(body, view, grid.spacing))


def _cc_outline(breast: Breast, draw: Draws) -> tuple[np.ndarray, tuple[float, float]]:
    """Return corner points (n, 2) as (row, column) in mm, and the nipple's position."""
    middle = 120 + draw.uniform(-8, 8)
    angle = np.linspace(-0.5, 0.5, 11) * np.pi
    radius = 1 + draw.uniforms(-0.02, 0.02, 11)
    sharp = 1.25 - 0.45 * breast.roundness
    rows = middle + radius * breast.half_height * np.sin(angle)
    columns = radius * breast.depth * np.abs(np.cos(angle)) ** sharp
    nipple = 5
    columns[nipple] = breast.depth
    rows[nipple] = middle + draw.uniform(-0.06, 0.06) * breast.half_height
    ends = np.array([[rows[0] - 4, -25.0], [rows[-1] + 4, -25.0]])
    points = np.vstack([ends[:1], np.stack([rows, columns], 1), ends[1:]])
    return points, (float(rows[nipple]), breast.depth)


def _mlo_outline(breast: Breast, draw: Draws) -> tuple[np.ndarray, tuple[float, float]]:
    """Return the same as `_cc_outline`: from the armpit at the top, over the nipple, to the fold below."""
    depth = breast.depth * draw.uniform(0.95, 1.05)
    nipple_row = draw.uniform(132, 158)
    fold = min(nipple_row + breast.half_height * draw.uniform(0.62, 0.82), 231)
    armpit = depth * draw.uniform(0.45, 0.68)
    full = 0.04 * breast.roundness
    above = [(-25, 0.97), (0, 1.0), (0.28, 1.0)]  # the armpit: share of the nipple's row, of the armpit's width
    points = [(part * nipple_row if part > 0 else part, armpit * width) for part, width in above]
    for part, share in ((0.55, 0.42), (0.75, 0.75), (0.89, 0.935), (1.0, 1.0)):
        points.append((part * nipple_row, armpit + (depth - armpit) * min(share + full * (share < 1), 1)))
    for part, share in ((0.22, 0.945), (0.48, 0.79), (0.74, 0.52), (0.93, 0.22), (1.0, -0.25)):
        points.append((nipple_row + part * (fold - nipple_row), depth * (share + full * (0.2 < share < 0.9))))
    outline = np.asarray(points, dtype=np.float64)
    outline[1:-1, 1] *= 1 + draw.uniforms(-0.012, 0.012, len(points) - 2)
    corner = np.array([[-25.0, -25.0]])
    return np.vstack([corner, outline]), (nipple_row, float(outline[6, 1]))


def _through(points: np.ndarray, steps: int = 12) -> np.ndarray:
    """Return a smooth curve (m, 2) through the points (n, 2): Catmull-Rom, straight at both ends."""
    p = np.vstack([points[:1], points, points[-1:]])
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (p[k : len(p) - 3 + k, None, :] for k in range(4))
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.vstack([curve.reshape(-1, 2), points[-1:]])


def _inside(curve: np.ndarray, grid: Grid) -> np.ndarray:
    """Return bool (H, W): pixel centers inside the closed curve (m, 2) in mm, by the even-odd rule."""
    start, end = curve, np.roll(curve, -1, axis=0)
    side, row = np.nonzero((start[:, :1] > grid.rows) != (end[:, :1] > grid.rows))
    share = (grid.rows[row] - start[side, 0]) / (end[side, 0] - start[side, 0])
    crossing = start[side, 1] + share * (end[side, 1] - start[side, 1])
    column = np.searchsorted(grid.columns, crossing)
    height, width = grid.shape
    crossed = np.bincount(row * (width + 1) + column, minlength=height * (width + 1)).reshape(height, width + 1)
    return np.cumsum(crossed, axis=1)[:, :width] % 2 == 1


def _nipple(at: tuple[float, float], grid: Grid, draw: Draws) -> np.ndarray:
    """Return the mask of a half ellipse that protrudes by 2 to 5 mm."""
    tall, out = draw.uniform(3.5, 6), draw.uniform(2.2, 5)
    down, forward = grid.rows[:, None] - at[0], grid.columns[None, :] - at[1]
    return (down / tall) ** 2 + (forward / out) ** 2 < 1


def _pectoral(outline: np.ndarray, view: str, grid: Grid, draw: Draws) -> np.ndarray:
    """Return the muscle's mask: in MLO a triangle with a curved edge, in CC nothing or a sliver at the chest wall."""
    if view == "CC":
        thick = draw.uniform(4, 9) if draw.chance(0.3) else 0.0
        low, high = outline[1, 0], outline[-2, 0]
        across = (grid.rows - low) / (high - low) * 2 - 1 - draw.uniform(-0.2, 0.2)
        edge = thick * (1 - (across / 0.7) ** 2)
    else:
        fold = outline[-1, 0]
        width, height = outline[2, 1] * draw.uniform(0.62, 0.86), fold * draw.uniform(0.42, 0.78)
        edge = width * np.clip(1 - grid.rows / height, 0, 1) ** draw.uniform(0.75, 1.15)
    return grid.columns[None, :] < edge[:, None]


def _skin_distance(body: np.ndarray, view: str, spacing: float) -> np.ndarray:
    """Return (H, W) mm to the skin, exact up to 30. The image's chest-wall side, and in MLO its top, are not skin."""
    pad = round(30 / spacing)
    above = pad if view == "MLO" else 0
    beyond = np.pad(body, ((above, 1), (pad, 1)), mode="edge")
    return ndimage.distance_transform_edt(beyond)[above:-1, pad:-1] * spacing
