"""Label maps as pictures: class numbers, values of the source, and an overlay for visual inspection."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from transforms.atomic_write import atomic_file
from transforms.outputs.prediction import Prediction
from transforms.palette import PALETTE, overlay, picture

PNG_ENDING, SOURCE_ENDING, OVERLAY_ENDING = "_labels.png", "_source.png", "_overlay.png"
OVERLAY_HEIGHT = 1024


def write_png(prediction: Prediction) -> None:
    """Write `<name>_labels.png`, a palette picture whose values are the class numbers."""
    save_indexed_png(prediction.label, prediction.path(PNG_ENDING))


def write_source(prediction: Prediction) -> None:
    """Write `<name>_source.png`, in the gray values of the data set's own label images, e.g. Cityscapes' ids."""
    values = np.asarray(prediction.source_values, dtype=np.uint8)
    _save(Image.fromarray(values[prediction.label]), prediction.path(SOURCE_ENDING))


def write_overlay(prediction: Prediction) -> None:
    """Write `<name>_overlay.png`: the image overlaid with its classes, at most `OVERLAY_HEIGHT` rows.

    Raises ValueError if the prediction has no image.
    """
    if prediction.image is None:
        raise ValueError("an overlay needs the image")
    rows, columns = prediction.label.shape
    shrink = min(1.0, OVERLAY_HEIGHT / rows)
    size = (max(1, round(rows * shrink)), max(1, round(columns * shrink)))
    small = F.interpolate(prediction.image[None].float(), size=size, mode="bilinear", antialias=True)[0]
    label = torch.from_numpy(np.ascontiguousarray(prediction.label))
    classes = F.interpolate(label[None, None], size=size, mode="nearest-exact")[0, 0]
    blend = overlay(picture(small.cpu().numpy()), classes.numpy(), len(prediction.classes))
    _save(Image.fromarray(blend), prediction.path(OVERLAY_ENDING))


def save_indexed_png(label: NDArray[np.uint8], path: Path) -> None:
    """Label map (H, W) → palette PNG whose pixel values are the class numbers."""
    image = Image.fromarray(label)
    image.putpalette([value for number in range(256) for value in PALETTE[number % len(PALETTE)]])
    _save(image, path)


def _save(image: Image.Image, path: Path) -> None:
    with atomic_file(path) as part:
        image.save(part, format="PNG")
