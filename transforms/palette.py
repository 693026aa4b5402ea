"""Class colors, and label maps and images as pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]

PALETTE: tuple[tuple[int, int, int], ...] = (
    (0, 0, 0), (86, 130, 190), (240, 200, 80), (150, 90, 160), (220, 50, 47), (80, 180, 110),
    (235, 130, 50), (110, 210, 220), (200, 110, 140), (170, 170, 170), (120, 90, 60), (200, 220, 120),
    (60, 60, 160), (250, 170, 170), (20, 120, 110), (190, 160, 230), (130, 30, 30), (90, 90, 90),
    (30, 160, 230), (240, 240, 240),
)  # fmt: skip
"""Class colors; background is black. Distinguishable with red-green color blindness."""

VOID_COLOUR = (255, 255, 255)
WRONG, RIGHT = (220, 50, 47), (60, 60, 60)


def colour(label: NDArray[np.integer[Any]], num_classes: int) -> RGB:
    """Label map (H, W) → RGB (H, W, 3); values that are no class are white."""
    table = np.full((256, 3), VOID_COLOUR, dtype=np.uint8)
    for c in range(num_classes):
        table[c] = PALETTE[c % len(PALETTE)]
    return table[label.astype(np.uint8)]


def picture(image: NDArray[np.floating[Any]]) -> RGB:
    """Image (1 or 3, H, W) in [-0.5, 0.5] → RGB (H, W, 3)."""
    levels = np.clip((np.moveaxis(image, 0, -1) + 0.5) * 255, 0, 255).astype(np.uint8)
    return np.broadcast_to(levels, (*levels.shape[:2], 3)).copy()


def overlay(image: RGB, label: NDArray[np.integer[Any]], num_classes: int, alpha: float = 0.4) -> RGB:
    """Blend the classes other than background over an image of the same size."""
    tint = colour(label, num_classes)
    mask = (label > 0)[..., None] * alpha
    return (image * (1 - mask) + tint * mask).astype(np.uint8)


def difference(truth: NDArray[np.integer[Any]], pred: NDArray[np.integer[Any]], num_classes: int) -> RGB:
    """Wrong pixels red, right ones dark, void white."""
    out: RGB = np.full((*truth.shape, 3), RIGHT, dtype=np.uint8)
    out[truth != pred] = WRONG
    out[truth >= num_classes] = VOID_COLOUR
    return out
