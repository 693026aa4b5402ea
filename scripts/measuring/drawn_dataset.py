"""Data set of synthetic images in a folder, with only arrays: no DICOM, no schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from transforms.dataset import Dataset
from transforms.row_counts import counts_file, row_counts

CLASSES = ("background", "breast", "tumor")


def drawn_dataset(folder: Path, images: int, size: tuple[int, int]) -> Dataset:
    """Write images of rows x columns with a half disk (breast) and a small disk (tumor), all as training images."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[: size[0], : size[1]]
    items: list[dict[str, Any]] = []
    for kind in ("images", "labels", "row_counts"):
        (folder / kind).mkdir(parents=True)
    for number in range(images):
        label = np.zeros(size, np.uint8)
        label[(rows - size[0] / 2) ** 2 + columns**2 < (0.45 * size[0]) ** 2] = 1
        top, left = random.uniform(0.3, 0.6, 2) * (size[0], 0.5 * size[1])
        label[(rows - top) ** 2 + (columns - left) ** 2 < (0.05 * size[0]) ** 2] = 2
        image = (np.array([100, 1500, 3000])[label] + random.normal(0, 100, size)).clip(0, 4095).astype(np.uint16)
        names = {"image": f"images/{number}.npy", "label": f"labels/{number}.npy"}
        np.save(folder / names["image"], image)
        np.save(folder / names["label"], label)
        np.save(counts_file(folder / names["label"]), row_counts(label, len(CLASSES)))
        items.append({**names, "subject": str(number), "intensity_range": [0, 4095], "source_sha256": str(number)})
    fractions = {"background": 0.6, "breast": 0.39, "tumor": 0.01}
    content = {"training": items, "validation": [], "test": [], "pixel_fraction": fractions}
    return Dataset(folder, "drawn", dict(enumerate(CLASSES)), None, fractions, content)
