"""The tumor: one mass, visible in both views of one breast, at the same depth behind the nipple.

Designed to be detected by context, not by gray value: as dense as the surrounding gland or up to half more, irregular,
mostly spiculated, and in dense tissue in a third of the cases (tests/scripts/phantom/test_blob_detector.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from scripts.phantom.anatomy import SIDES, Anatomy, Breast, Grid
from scripts.phantom.random_draws import Draws, smoothstep

DIAMETERS_MM = (8.0, 30.0)
_PAIR, _TRIPLE = 1_000_000, 2_000_000  # streams of subject pairs and of three pairs, separate from those of subjects
_SPICULATED = ((2, 0.13), (3, 0.09), (5, 0.07), (8, 0.06), (13, 0.05))  # (waves around the outline, their height)
_LOBULATED = ((2, 0.15), (3, 0.12), (4, 0.07), (6, 0.05))


@dataclass(frozen=True)
class Mass:
    """A tumor of a subject."""

    side: str
    radius: float  # mm, of a disc of the same area
    spiculated: bool
    in_dense: bool  # placed in gland as far as possible, else beside it
    density: float  # amount of attenuation: 1 is that of dense gland
    behind: float  # distance behind the nipple as a share of the breast's depth
    offset: dict[str, float]  # by view, vertical: share of the breast's half height, down is positive


def subject_mass(seed: int, subject: int) -> Mass | None:
    """Return the mass of a subject, or None: of two neighbors (0 and 1, 2 and 3, …) exactly one has a mass.

    Of three neighboring pairs exactly one has its mass in dense tissue.
    """
    pair, place = divmod(subject, 2)
    draw = Draws(seed, pair, _PAIR)
    if draw.integer(0, 1) != place:
        return None
    triple, turn = divmod(pair, 3)
    in_dense = Draws(seed, triple, _TRIPLE).integer(0, 2) == turn
    return Mass(
        side=draw.choose(SIDES),
        radius=draw.uniform(*DIAMETERS_MM) / 2,
        spiculated=draw.chance(0.8 if in_dense else 0.6),
        in_dense=in_dense,
        density=draw.uniform(1.25, 1.5) if in_dense else draw.uniform(0.85, 1.15),
        behind=draw.uniform(0.32, 0.58) if in_dense else draw.uniform(0.25, 0.65),
        offset={"CC": draw.uniform(-0.45, 0.45), "MLO": draw.uniform(-0.4, 0.35)},
    )


def mass_field(
    mass: Mass, breast: Breast, anatomy: Anatomy, gland: np.ndarray, view: str, grid: Grid, draw: Draws
) -> tuple[np.ndarray, np.ndarray]:
    """Return the amount (H, W) of tumor, 0 to about 1.1, including spicules, and the mask (H, W) of its body.

    `gland` is the mask (H, W) of the gland, which determines the position of the mass.
    """
    radius, angle = grid.polar(*_place(mass, breast, anatomy, gland, view, grid))
    edge = mass.radius * _outline(angle, _SPICULATED if mass.spiculated else _LOBULATED, draw)
    soft = min(2.0 if mass.spiculated else 1.3, 0.3 * mass.radius)  # half the width of the margin, mm
    clumps = draw.fractal(grid.rows, grid.columns, (7, 3))
    dome = 0.86 + 0.2 * (1 - np.clip(radius / edge, 0, 1) ** 2) + 0.07 * clumps
    body = smoothstep((edge - radius) / (2 * soft) + 0.5) * dome
    inside = anatomy.breast & ~anatomy.pectoral & (anatomy.skin_distance > 2.5)
    amount = np.maximum(body, _spicules(radius, angle, edge, draw)) if mass.spiculated else body
    return amount * inside, (radius < edge) & inside


def _place(
    mass: Mass, breast: Breast, anatomy: Anatomy, gland: np.ndarray, view: str, grid: Grid
) -> tuple[float, float]:
    """Return (row, column) in mm: near the mass's depth and offset, as skin, muscle and its kind of tissue allow."""
    row, column = anatomy.nipple_at
    wanted = row + mass.offset[view] * breast.half_height
    rows = wanted + np.linspace(-1, 1, 41) * breast.half_height
    rows = rows[(rows > 0) & (rows < grid.rows[-1])][:, None]
    columns = column * (1 - mass.behind) + np.linspace(-2.5, 2.5, 5)[None, :]
    at = (rows / grid.spacing).astype(np.intp), (columns / grid.spacing).astype(np.intp)
    muscle = ndimage.distance_transform_edt(~anatomy.pectoral)[at] * grid.spacing
    room = np.minimum(anatomy.skin_distance[at] - 4, muscle) - mass.radius
    side = round(2.8 * mass.radius / grid.spacing)
    around = ndimage.uniform_filter(gland.astype(np.float64), side, mode="constant")[at]
    unlike = 1 - around if mass.in_dense else around  # share of the surroundings with the wrong kind of tissue
    cost = 0.3 * np.abs(rows - wanted) + 100 * np.clip(-room, 0, None) + 60 * unlike
    best = np.unravel_index(cost.argmin(), cost.shape)
    return float(rows[best[0], 0]), float(columns[0, best[1]])


def _outline(angle: np.ndarray, waves: tuple[tuple[int, float], ...], draw: Draws) -> np.ndarray:
    """Return the outline's distance (H, W) from the center by angle, in radii of the disc of the same area."""
    outline, area = np.ones_like(angle), 1.0
    for count, height in waves:
        swing = draw.uniform(0.4, 1) * height
        outline += swing * np.cos(count * (angle - draw.uniform(-np.pi, np.pi)))
        area += swing**2 / 2
    return outline / np.sqrt(area)


def _spicules(radius: np.ndarray, angle: np.ndarray, edge: np.ndarray, draw: Draws) -> np.ndarray:
    """Return an amount (H, W), 0 to 0.8: thin rays from the body that fade over its own radius, at least 5 mm."""
    rays = np.zeros_like(radius)
    for _ in range(draw.integer(9, 15)):
        turn = np.abs((angle - draw.uniform(0, 2 * np.pi) + np.pi) % (2 * np.pi) - np.pi)
        reach = edge + np.maximum(edge * draw.uniform(0.4, 1.2), 5)
        width = np.clip(1 - turn * radius / 1.3, 0, 1)
        rays = np.maximum(rays, width * np.clip((reach - radius) / (reach - 0.8 * edge), 0, 0.8))
    return rays
