"""Small structures: vessels and calcifications."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from scripts.phantom.anatomy import Anatomy, Breast, Grid
from scripts.phantom.random_draws import Draws

_DOWN = np.array([[1.0, 0.0]])
_STEPS = 400  # points along a vessel: less than a pixel apart


def vessels(breast: Breast, anatomy: Anatomy, grid: Grid, draw: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Draw two to four winding, branching lines from chest wall to nipple: amount (H, W) 0-1 and mask (H, W)."""
    lines = np.zeros(grid.shape)
    for _ in range(draw.integer(2, 4)):
        strength = draw.uniform(0.35, 1.0)
        points = _winding(breast, anatomy, draw)
        _splat(lines, points / grid.spacing, strength)
        if draw.chance(0.5):
            fork = draw.integer(_STEPS // 4, _STEPS // 2)
            spread = np.linspace(0, 1, _STEPS - fork)[:, None] * draw.uniform(-22, 22) * _DOWN
            _splat(lines, (points[fork:] + spread) / grid.spacing, 0.7 * strength)
    amount = np.clip(ndimage.gaussian_filter(lines, 0.5) * 1.5, 0, 1)
    amount *= anatomy.breast & ~anatomy.pectoral & (anatomy.skin_distance > 3)
    return amount, amount > 0.4


def _winding(breast: Breast, anatomy: Anatomy, draw: Draws) -> np.ndarray:
    """Return points (n, 2) in mm of a curve that bends like a vessel."""
    row, column = anatomy.nipple_at
    side = draw.choose((-1, 1))
    start = row + side * draw.uniform(0.2, 0.85) * breast.half_height
    end = row + side * draw.uniform(0.1, 0.5) * breast.half_height
    t = np.linspace(0, 1, _STEPS)
    wide, narrow = (draw.texture(np.arange(float(_STEPS)), np.zeros(1), cell)[:, 0] for cell in (60, 17))
    bow = side * draw.uniform(0.0, 0.25) * breast.half_height * 4 * t * (1 - t)
    rows = start + (end - start) * t + bow + 3.5 * wide + 0.8 * narrow
    return np.stack([rows, column * draw.uniform(0.55, 0.95) * t], 1)


def _splat(canvas: np.ndarray, points: np.ndarray, strength: float) -> None:
    """Mark in place the pixels that contain one of the points (n, 2), whose integer coordinates are pixel edges."""
    at = np.floor(points).astype(np.intp)
    at = at[np.all((at >= 0) & (at < canvas.shape), axis=1)]
    canvas[at[:, 0], at[:, 1]] = np.maximum(canvas[at[:, 0], at[:, 1]], strength)


def calcifications(breast: Breast, anatomy: Anatomy, grid: Grid, draw: Draws) -> np.ndarray:
    """Return the brightness (H, W) 0-1 of bright pixels: scattered, and in some breasts a cluster."""
    row, column = anatomy.nipple_at
    spots = [(draw.uniform(-0.5, 0.5), draw.uniform(0.15, 0.85)) for _ in range(draw.integer(0, 4))]
    if draw.chance(0.4):
        middle = (draw.uniform(-0.3, 0.3), draw.uniform(0.3, 0.8))
        reach = 5 / breast.half_height
        for _ in range(draw.integer(5, 11)):
            spots.append((middle[0] + draw.uniform(-reach, reach), middle[1] + draw.uniform(-reach, reach)))
    canvas = np.zeros(grid.shape)
    for down, along in spots:
        at = np.array([[row + down * breast.half_height, column * along]]) / grid.spacing
        _splat(canvas, at, draw.uniform(0.4, 1.0))
        if draw.chance(0.2):
            _splat(canvas, at + 1, 0.5)
            _splat(canvas, at + np.array([[0, 1]]), 0.7)
    return canvas * (anatomy.breast & ~anatomy.pectoral & (anatomy.skin_distance > 4))
