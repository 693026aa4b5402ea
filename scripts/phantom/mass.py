"""The tumour: one mass, seen in both views of one breast, at the same depth behind the nipple."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from scripts.phantom.anatomy import SIDES, Anatomy, Breast, Grid
from scripts.phantom.draws import Draws, smoothstep


@dataclass(frozen=True)
class Mass:
    """A tumour of a subject."""

    side: str
    radius: float  # mm
    spiculated: bool
    density: float  # its amount of attenuation: 1 is that of dense gland
    behind: float  # distance behind the nipple as a share of the breast's depth
    offset: dict[str, float]  # by view, across: share of the breast's half height, down is positive


def subject_mass(seed: int, subject: int) -> Mass | None:
    """The mass of a subject, or None: of two neighbours (0 and 1, 2 and 3, …) exactly one has a mass."""
    pair, place = divmod(subject, 2)
    draw = Draws(seed, pair, 1_000_000)
    if draw.integer(0, 1) != place:
        return None
    return Mass(
        side=draw.choose(SIDES),
        radius=draw.uniform(6.5, 14.5),
        spiculated=draw.chance(0.5),
        density=draw.uniform(0.95, 1.4),
        behind=draw.uniform(0.25, 0.62),
        offset={"CC": draw.uniform(-0.45, 0.45), "MLO": draw.uniform(-0.4, 0.35)},
    )


def mass_field(
    mass: Mass, breast: Breast, anatomy: Anatomy, view: str, grid: Grid, draw: Draws
) -> tuple[np.ndarray, np.ndarray]:
    """Amount (H, W) of tumour, 0 to about 1.1, spicules included, and the mask (H, W) of its body."""
    radius, angle = grid.polar(*_place(mass, breast, anatomy, view, grid))
    edge = mass.radius * _lobed(angle, mass.spiculated, draw)
    soft = 2.0 if mass.spiculated else 1.3  # half the width of the margin, mm
    dome = 0.86 + 0.2 * (1 - np.clip(radius / edge, 0, 1) ** 2) + 0.07 * draw.fractal(grid.rows, grid.columns, (7, 3))
    body = smoothstep((edge - radius) / (2 * soft) + 0.5) * dome
    inside = anatomy.breast & ~anatomy.pectoral & (anatomy.skin_distance > 2.5)
    amount = np.maximum(body, _spicules(radius, angle, edge, draw)) if mass.spiculated else body
    return amount * inside, (radius < edge) & inside


def _place(mass: Mass, breast: Breast, anatomy: Anatomy, view: str, grid: Grid) -> tuple[float, float]:
    """(row, column) in mm: at the mass's depth, as near to its offset as skin and muscle allow."""
    row, column = anatomy.nipple_at
    column *= 1 - mass.behind
    wanted = row + mass.offset[view] * breast.half_height
    rows = wanted + np.linspace(-1, 1, 41) * breast.half_height
    rows = rows[(rows > 0) & (rows < grid.rows[-1])]
    at_row, at_column = (rows / grid.spacing).astype(np.intp), int(column / grid.spacing)
    muscle = ndimage.distance_transform_edt(~anatomy.pectoral)[at_row, at_column] * grid.spacing
    room = np.minimum(anatomy.skin_distance[at_row, at_column] - 4, muscle) - mass.radius
    cost = np.abs(rows - wanted) + 100 * np.clip(-room, 0, None)
    return float(rows[cost.argmin()]), column


def _lobed(angle: np.ndarray, spiculated: bool, draw: Draws) -> np.ndarray:
    """(H, W) radius of the outline over the mean radius, by angle."""
    waves = ((2, 0.1), (3, 0.06), (5, 0.06), (8, 0.05), (13, 0.04)) if spiculated else ((2, 0.12), (3, 0.06))
    outline = np.ones_like(angle)
    for count, height in waves:
        outline += draw.uniform(0.4, 1) * height * np.cos(count * (angle - draw.uniform(-np.pi, np.pi)))
    return outline


def _spicules(radius: np.ndarray, angle: np.ndarray, edge: np.ndarray, draw: Draws) -> np.ndarray:
    """(H, W) amount 0 to 0.8: thin rays that leave the body and fade over its own radius."""
    rays = np.zeros_like(radius)
    for _ in range(draw.integer(9, 15)):
        turn = np.abs((angle - draw.uniform(0, 2 * np.pi) + np.pi) % (2 * np.pi) - np.pi)
        reach = edge * draw.uniform(1.4, 2.2)
        width = np.clip(1 - turn * radius / 1.3, 0, 1)
        rays = np.maximum(rays, width * np.clip((reach - radius) / (reach - 0.8 * edge), 0, 0.8))
    return rays
