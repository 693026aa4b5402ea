"""From tissue to gray values: attenuation, presentation processing, noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from scripts.phantom.anatomy import Anatomy, Grid
from scripts.phantom.random_draws import Draws
from scripts.phantom.tissue import Tissue

SKIN_MM = 1.9


@dataclass(frozen=True)
class Exposure:
    """Exposure and processing of one subject's images: gray levels as shares of the full range."""

    fat: float
    gland: float
    pectoral: float
    texture: float
    rolloff: float  # mm over which the breast thins out toward the skin
    noise: float
    heel: float  # change along the field's width
    blur: float  # mm


def subject_exposure(draw: Draws) -> Exposure:
    """Draw the exposure of a subject: fat of one may be as bright as gland of another."""
    fat = draw.uniform(0.2, 0.38)
    return Exposure(
        fat=fat,
        gland=fat + draw.uniform(0.28, 0.44),
        pectoral=fat + draw.uniform(0.2, 0.46),
        texture=draw.uniform(0.09, 0.17),
        rolloff=draw.uniform(9, 20),
        noise=draw.uniform(0.01, 0.024),
        heel=draw.uniform(0.02, 0.1),
        blur=draw.uniform(0.35, 0.6),
    )


def attenuation(
    exposure: Exposure,
    anatomy: Anatomy,
    content: Tissue,
    vessel: np.ndarray,
    tumor: np.ndarray,
    tumor_density: float,
    grid: Grid,
    draw: Draws,
) -> np.ndarray:
    """Return gray values (H, W) 0-1 of an ideal detector. `vessel` and `tumor` are amounts; a mass displaces gland."""
    step = exposure.gland - exposure.fat
    dense = content.gland + 0.3 * vessel * (1 - 0.6 * np.minimum(content.gland, 1))
    dense += tumor * (tumor_density * (0.8 + 0.2 * content.gland) - dense)
    grey = exposure.fat + exposure.texture * content.adipose * (1 - 0.7 * np.minimum(dense, 1)) + step * dense
    muscle = ndimage.gaussian_filter(anatomy.pectoral.astype(np.float64), 1.1 / grid.spacing)
    if anatomy.pectoral.any():
        grey += muscle * (exposure.pectoral + _fibres(exposure, grid, draw) - grey)
    rim = np.clip(1 - anatomy.skin_distance / rim_width(grid), 0, 1)
    thin = 1 - (1 - np.clip(anatomy.skin_distance / exposure.rolloff, 0, 1)) ** 2
    grey = grey * (0.3 + 0.7 * thin) + 0.10 * rim * (anatomy.skin_distance > 0)
    nipple = ndimage.gaussian_filter(anatomy.nipple.astype(np.float64), 1.0 / grid.spacing)
    grey += 0.5 * exposure.gland * nipple * (1 - 0.5 * thin)
    return np.where(anatomy.breast, grey, 0)


def rim_width(grid: Grid) -> float:
    """Return the thickness of the skin line in mm: at least two pixels."""
    return max(SKIN_MM, 2.01 * grid.spacing)


def _fibres(exposure: Exposure, grid: Grid, draw: Draws) -> np.ndarray:
    """Return the texture (H, W) of the muscle: fibers along its edge, and slow shading."""
    along = grid.rows[:, None] + 0.9 * grid.columns[None, :]
    across = grid.rows[:, None] * 0.45 - grid.columns[None, :]
    fibres = draw.texture_at(along / 40, across / 3.5 + 32)
    return exposure.texture * (0.22 * fibres + 0.5 * draw.texture(grid.rows, grid.columns, 28))


def detected(ideal: np.ndarray, exposure: Exposure, grid: Grid, draw: Draws) -> np.ndarray:
    """Return the gray value (H, W) 0-1 with blur, heel effect, scatter and noise."""
    air = draw.uniform(-0.03, 0.03)  # below 0: clipped to black, as some vendors do
    slope = 1 + exposure.heel * (0.5 - grid.columns / grid.columns[-1]) * draw.choose((-1, 1))
    sharp = ndimage.gaussian_filter(ideal, exposure.blur / grid.spacing)
    grey = air + (1 - air) * sharp * slope[None, :]
    return grey + exposure.noise * (0.05 + np.abs(grey)) * draw.noise(grid.shape)
