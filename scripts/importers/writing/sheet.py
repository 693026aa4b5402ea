"""Contact sheet of thumbnails with label overlays, for a quick visual check of an import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from transforms.dataset import SECTIONS, Dataset, check_image_type, open_array
from transforms.errors import UserError
from transforms.palette import overlay

HEIGHT, WIDEST, CAPTION, COLUMNS, MOST = 192, 768, 14, 10, 60
RED = (160, 0, 0)


def write_sheet(dataset: Dataset, path: Path) -> int:
    """Write up to 60 cases of all sections, evenly chosen, as one PNG; return their number.

    A case that cannot be shown is a red tile; `check_dataset` reports the reason.

    Raises:
        UserError: the picture cannot be written.
    """
    items = [item for section in SECTIONS for item in dataset.items(section)]
    chosen = [items[i] for i in np.unique(np.linspace(0, len(items) - 1, min(MOST, len(items))).astype(int))]
    tiles = [_tile_or_red(dataset, item) for item in chosen]
    width = max(tile.width for tile in tiles)
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (min(COLUMNS, len(tiles)) * (width + 2), rows * (HEIGHT + CAPTION)), (32, 32, 32))
    draw = ImageDraw.Draw(sheet)
    for number, (tile, item) in enumerate(zip(tiles, chosen, strict=True)):
        x, y = number % COLUMNS * (width + 2), number // COLUMNS * (HEIGHT + CAPTION)
        sheet.paste(tile, (x, y + CAPTION))
        draw.text((x + 2, y + 1), item["case"], fill=(255, 255, 255))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path)
    except (OSError, ValueError) as error:  # Pillow derives the format from the suffix
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--sheet {path}: cannot be written ({reason}); expected the name of a PNG file") from None
    return len(tiles)


def _tile_or_red(dataset: Dataset, item: dict[str, Any]) -> Image.Image:
    try:
        if item["label"] is not None:
            dataset.check_labels([item])
        return _tile(item, dataset.num_classes)
    except UserError:
        return Image.new("RGB", (HEIGHT, HEIGHT), RED)


def _tile(item: dict[str, Any], num_classes: int) -> Image.Image:
    image = open_array(item["image"])
    check_image_type(item["image"], image)
    step = max(1, image.shape[0] // HEIGHT)
    low, high = item["intensity_range"]
    grey = (np.asarray(image[::step, ::step], np.float32) - low) / max(high - low, 1) * 255.0
    pixels = (grey if grey.ndim == 3 else np.repeat(grey[:, :, None], 3, axis=2)).clip(0, 255).astype(np.uint8)
    if item["label"] is not None:
        label = np.asarray(open_array(item["label"])[::step, ::step])
        pixels = overlay(pixels, np.where(label < num_classes, label, 0), num_classes)
    size = (min(max(1, round(HEIGHT * image.shape[1] / image.shape[0])), WIDEST), HEIGHT)
    return Image.fromarray(pixels).resize(size)
