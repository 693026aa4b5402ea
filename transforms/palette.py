"""Class colors, and label maps and images as pictures."""

from __future__ import annotations

from collections.abc import Sequence
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

CITYSCAPES = {
    "road": (128, 64, 128), "sidewalk": (244, 35, 232), "building": (70, 70, 70), "wall": (102, 102, 156),
    "fence": (190, 153, 153), "pole": (153, 153, 153), "traffic light": (250, 170, 30), "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35), "terrain": (152, 251, 152), "sky": (70, 130, 180), "person": (220, 20, 60),
    "rider": (255, 0, 0), "car": (0, 0, 142), "truck": (0, 0, 70), "bus": (0, 60, 100), "train": (0, 80, 100),
    "motorcycle": (0, 0, 230), "bicycle": (119, 11, 32),
}  # fmt: skip
"""Official colors of the 19 evaluated classes (cityscapesScripts, helpers/labels.py)."""

VOID_COLOUR = (255, 255, 255)
WRONG, RIGHT = (255, 0, 200), (60, 60, 60)
"""Colors in the difference of two label maps; no class has the color `WRONG`."""


def class_colours(class_names: Sequence[str]) -> list[tuple[int, int, int]]:
    """Color of each class: the official ones if all classes are of Cityscapes, else by class number."""
    if class_names and all(name in CITYSCAPES for name in class_names):
        return [CITYSCAPES[name] for name in class_names]
    return [PALETTE[number % len(PALETTE)] for number in range(len(class_names))]


def colour(label: NDArray[np.integer[Any]], class_names: Sequence[str]) -> RGB:
    """Label map (H, W) → RGB (H, W, 3); values without a class are white."""
    table = np.full((256, 3), VOID_COLOUR, dtype=np.uint8)
    table[: len(class_names)] = class_colours(class_names)
    return table[label.astype(np.uint8)]


def picture(image: NDArray[np.floating[Any]]) -> RGB:
    """Image (1 or 3, H, W) in [-0.5, 0.5] → RGB (H, W, 3)."""
    levels = np.clip((np.moveaxis(image, 0, -1) + 0.5) * 255, 0, 255).astype(np.uint8)
    return np.broadcast_to(levels, (*levels.shape[:2], 3)).copy()


def overlay(image: RGB, label: NDArray[np.integer[Any]], num_classes: int, alpha: float = 0.4) -> RGB:
    """Overlay the classes other than background on an image of the same size."""
    tint = colour(label, [""] * num_classes)
    mask = (label > 0)[..., None] * alpha
    return (image * (1 - mask) + tint * mask).astype(np.uint8)


def difference(truth: NDArray[np.integer[Any]], pred: NDArray[np.integer[Any]], num_classes: int) -> RGB:
    """Difference of two label maps as RGB (H, W, 3): wrong pixels magenta, correct pixels dark, void white."""
    out: RGB = np.full((*truth.shape, 3), RIGHT, dtype=np.uint8)
    out[truth != pred] = WRONG
    out[truth >= num_classes] = VOID_COLOUR
    return out
