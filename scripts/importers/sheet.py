"""A sheet of thumbnails with label colours over them: the quickest way to see that an import went well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from transforms.dataset import SECTIONS, Dataset, open_array

HEIGHT, CAPTION, COLUMNS, MOST = 192, 14, 10, 60
# Okabe and Ito's colours, which people with colour vision deficiency can tell apart; the first class has none
COLOURS = np.array(
    [
        *((0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115)),
        *((240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)),
    ],
    np.float32,
)


def write_sheet(dataset: Dataset, path: Path) -> int:
    """Write up to 60 cases of all sections, evenly chosen, as one PNG; returns how many."""
    items = [item for section in SECTIONS for item in dataset.items(section)]
    chosen = [items[i] for i in np.unique(np.linspace(0, len(items) - 1, min(MOST, len(items))).astype(int))]
    tiles = [_tile(item, dataset.ignore_label) for item in chosen]
    width = max(tile.width for tile in tiles)
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (min(COLUMNS, len(tiles)) * (width + 2), rows * (HEIGHT + CAPTION)), (32, 32, 32))
    draw = ImageDraw.Draw(sheet)
    for number, (tile, item) in enumerate(zip(tiles, chosen, strict=True)):
        x, y = number % COLUMNS * (width + 2), number // COLUMNS * (HEIGHT + CAPTION)
        sheet.paste(tile, (x, y + CAPTION))
        draw.text((x + 2, y + 1), item["case"], fill=(255, 255, 255))
    sheet.save(path)
    return len(tiles)


def _tile(item: dict[str, Any], ignore_label: int | None) -> Image.Image:
    image = open_array(item["image"])
    step = max(1, image.shape[0] // HEIGHT)
    low, high = item["intensity_range"]
    grey = (np.asarray(image[::step, ::step], np.float32) - low) / max(high - low, 1) * 255.0
    pixels = grey if grey.ndim == 3 else np.repeat(grey[:, :, None], 3, axis=2)
    if item["label"] is not None:
        pixels = _painted(pixels, np.asarray(open_array(item["label"])[::step, ::step]), ignore_label)
    size = (max(1, round(HEIGHT * image.shape[1] / image.shape[0])), HEIGHT)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).resize(size)


def _painted(pixels: NDArray[Any], label: NDArray[Any], ignore_label: int | None) -> NDArray[Any]:
    shown = (label > 0) & (label != (-1 if ignore_label is None else ignore_label))
    colour = COLOURS[1 + (label.astype(int) - 1) % (len(COLOURS) - 1)]
    return np.where(shown[:, :, None], 0.6 * pixels + 0.4 * colour, pixels)
