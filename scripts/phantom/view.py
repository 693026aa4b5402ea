"""One synthetic mammogram: its picture and the mask of every structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scripts.phantom.anatomy import SIDES, Grid, compressed, subject_breasts
from scripts.phantom.details import calcifications, vessels
from scripts.phantom.exposure import attenuation, detected, rim_width, subject_exposure
from scripts.phantom.marker import marker
from scripts.phantom.mass import mass_field, subject_mass
from scripts.phantom.random_draws import Draws
from scripts.phantom.tissue import tissue

# Every annotated structure and its color. Structures overlap, like annotations: "adipose tissue" is the whole breast.
# The later one takes precedence.
STRUCTURES: dict[str, tuple[int, int, int]] = {
    "adipose tissue": (230, 190, 80),
    "mammary gland": (70, 160, 220),
    "pectoral muscle": (170, 70, 60),
    "tumor": (200, 0, 0),
    "vessel": (150, 0, 200),
    "skin": (240, 150, 130),
    "nipple": (140, 80, 50),
    "calcification": (255, 255, 0),
    "text": (0, 200, 200),
}


@dataclass(frozen=True)
class View:
    """A picture in display orientation: the left breast points right, the right breast left."""

    subject: int
    side: str
    view: str
    spacing: float  # mm
    picture: np.ndarray  # float64 (H, W), 0 black to 1 white
    masks: dict[str, np.ndarray]  # bool (H, W) by structure, in the order of STRUCTURES; empty ones omitted


def make_view(seed: int, subject: int, side: str, view: str, height: int = 256) -> View:
    """Draw the synthetic mammogram of a subject (from 0), side "L" or "R", view "CC" or "MLO"."""
    grid = Grid(height)
    person = Draws(seed, subject)
    breast = subject_breasts(person)[side]
    exposure = subject_exposure(person)
    draw = Draws(seed, subject, SIDES.index(side), len(view))
    anatomy = compressed(breast, view, grid, draw)
    content = tissue(breast, anatomy, grid, draw)
    vessel, vessel_mask = vessels(breast, anatomy, grid, draw)
    spots = calcifications(breast, anatomy, grid, draw)
    mass = subject_mass(seed, subject)
    tumor, tumor_mask, density = np.zeros(grid.shape), np.zeros(grid.shape, bool), 0.0
    if mass is not None and mass.side == side:
        tumor, tumor_mask = mass_field(mass, breast, anatomy, content.gland_mask, view, grid, draw)
        density = mass.density
    grey = attenuation(exposure, anatomy, content, vessel, tumor, density, grid, draw)
    grey = detected(grey, exposure, grid, draw) + 0.4 * spots
    letters = marker(side, view, grid.shape, draw)
    ink = draw.uniform(0.6, 0.97)
    masks = {
        "adipose tissue": anatomy.breast,
        "mammary gland": content.gland_mask,
        "pectoral muscle": anatomy.pectoral,
        "tumor": tumor_mask,
        "vessel": vessel_mask,
        "skin": anatomy.breast & ~anatomy.nipple & (anatomy.skin_distance <= rim_width(grid)),
        "nipple": anatomy.nipple,
        "calcification": spots > 0,
    }
    flip = slice(None, None, -1 if side == "R" else 1)
    masks = {name: np.ascontiguousarray(mask[:, flip]) for name, mask in masks.items()} | {"text": letters}
    picture = np.clip(np.where(letters, ink, grey[:, flip]), 0, 1)
    kept = {name: mask for name, mask in masks.items() if mask.any()}
    return View(subject, side, view, grid.spacing, picture, kept)
