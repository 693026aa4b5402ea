"""Texture of the breast: gland and adipose tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from scripts.phantom.anatomy import Anatomy, Breast, Grid
from scripts.phantom.random_draws import Draws, smoothstep

_SMALLEST_GLAND_MM2 = 50.0  # annotators draw no smaller islands and holes


@dataclass(frozen=True)
class Tissue:
    """Tissue fields (H, W), and the mask (H, W) of the gland as an annotator would outline it."""

    gland: np.ndarray  # amount of gland, 0 to about 1
    adipose: np.ndarray  # texture of the fat, about -1 to 1
    gland_mask: np.ndarray


@dataclass(frozen=True)
class _Texture:
    """Texture fields (H, W), mean 0 and variance about 1, except for `strands`: 0 to about 1."""

    streaks: np.ndarray  # directed toward the nipple, like ducts
    lobes: np.ndarray  # of the size of the gland's lobes and smaller
    fine: np.ndarray
    strands: np.ndarray  # thin bright lines: ducts and Cooper's ligaments


def tissue(breast: Breast, anatomy: Anatomy, grid: Grid, draw: Draws) -> Tissue:
    """Draw the tissue of a breast."""
    texture = _textures(breast, anatomy, grid, draw)
    excess = _gland_excess(breast, anatomy, grid, texture, draw)
    outlined = ndimage.gaussian_filter(excess, 1.8 / grid.spacing) > 0
    mask = outlined & anatomy.breast & ~anatomy.pectoral
    mask = _without_specks(mask, _SMALLEST_GLAND_MM2 / grid.spacing**2)
    return Tissue(_gland(excess, texture), _adipose(excess, anatomy, texture), mask)


def _textures(breast: Breast, anatomy: Anatomy, grid: Grid, draw: Draws) -> _Texture:
    row, column = anatomy.nipple_at
    radius, angle = grid.polar(row, column - 3)
    wander = draw.texture(grid.rows, grid.columns, 18)
    turned = angle + 0.2 * wander
    coarse = draw.texture_at(radius / 30, 32 + turned / 0.3)
    narrow = draw.texture_at(radius / 17, 32 + turned / 0.13)
    lobes = draw.fractal(grid.rows, grid.columns, (breast.lobes, breast.lobes / 2))
    fine = draw.fractal(grid.rows, grid.columns, (5.5, 2.8))
    cells = draw.texture(grid.rows, grid.columns, 9)
    strands = 0.6 * _ridge(narrow + 0.3 * fine, 0.35) + 0.45 * _ridge(cells + 0.45 * coarse, 0.3)
    strands += 0.3 * _ridge(coarse + 0.25 * fine, 0.16)
    return _Texture(0.75 * coarse + 0.66 * narrow, lobes, fine, strands)


def _ridge(field: np.ndarray, width: float) -> np.ndarray:
    """Return 1 along the lines where the field (H, W) is 0, falling to 0 at +-width."""
    return np.clip(1 - np.abs(field) / width, 0, 1)


def _gland_excess(breast: Breast, anatomy: Anatomy, grid: Grid, texture: _Texture, draw: Draws) -> np.ndarray:
    """Return a field (H, W) that is positive in gland; its positive share is the breast's density."""
    row, column = anatomy.nipple_at
    middle = row + draw.uniform(-0.1, 0.04) * breast.half_height
    tall = breast.half_height * (0.4 + 0.45 * breast.density)
    along = (grid.columns[None, :] - 0.56 * column) / (0.55 * column)
    across = (grid.rows[:, None] - middle) / tall
    cone = 1.1 - 0.9 * along**2 - across**2 * (1 + 0.4 * along)
    mixed = (1 - breast.streaks) * texture.lobes + breast.streaks * texture.streaks
    field = cone + 0.5 * mixed
    field -= 1.6 * np.clip(1 - anatomy.skin_distance / (1.8 * breast.fat_margin), 0, 1)
    inside = anatomy.breast & ~anatomy.pectoral & (anatomy.skin_distance > 0.6 * breast.fat_margin)
    return np.where(inside, field - np.quantile(field[inside], 1 - breast.density), -2.0)


def _gland(excess: np.ndarray, texture: _Texture) -> np.ndarray:
    """Return the amount of gland: a body with soft, ragged borders, thicker toward its middle, made of strands."""
    ragged = excess + 0.1 * texture.fine + 0.25 * (texture.strands - 0.35)
    body = smoothstep(ragged / 0.75 + 0.45)
    thick = 0.5 + 0.3 * np.clip(excess, 0, 1)
    woven = 0.11 * texture.fine + 0.1 * texture.streaks + 0.4 * texture.strands
    return body * np.clip(thick + woven, 0.15, 1.3)


def _without_specks(mask: np.ndarray, pixels: float) -> np.ndarray:
    """Return the mask (H, W) without islands and holes of fewer than `pixels` pixels."""
    for value in (True, False):
        labels, count = ndimage.label(mask == value)
        small = np.bincount(labels.ravel(), minlength=count + 1) < pixels
        small[0] = False
        mask = np.where(small[labels], not value, mask)
    return mask


def _adipose(excess: np.ndarray, anatomy: Anatomy, texture: _Texture) -> np.ndarray:
    """Return a field (H, W), about -1 to 1.5: clouds, and strands that fade away from the gland and under the skin."""
    near_gland = np.clip(1 + excess / 1.8, 0.25, 1)
    under_skin = np.clip(anatomy.skin_distance / 14, 0, 1)
    return 0.16 * texture.lobes + 0.12 * texture.fine + 1.1 * near_gland * under_skin * texture.strands
