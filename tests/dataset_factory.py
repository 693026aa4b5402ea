"""Tiny dataset folder, written directly instead of by an importer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

LABELS = ("background", "gland", "tumor")


def make_dataset(
    folder: Path, subjects: int = 6, size: tuple[int, int] = (40, 32), seed: int = 0, name: str = "tiny"
) -> Path:
    """Write a dataset folder of one image per subject: a bright disc (tumor) on a gray half (gland); two validate."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    sections: dict[str, list[dict[str, Any]]] = {"training": [], "validation": [], "test": []}
    pixels = np.zeros(len(LABELS))
    rows, columns = np.mgrid[: size[0], : size[1]]
    for number in range(subjects):
        label = np.zeros(size, np.uint8)
        label[:, size[1] // 2 :] = 1
        center = rng.integers(8, 24, 2)
        label[(rows - center[0]) ** 2 + (columns - center[1]) ** 2 < 30] = 2
        image = (np.array([200, 1500, 3500])[label] + rng.normal(0, 60, size)).clip(0, 4095).astype(np.uint16)
        case = f"s{number:03d}_L_CC"
        np.save(folder / "images" / f"{case}.npy", image)
        np.save(folder / "labels" / f"{case}.npy", label)
        section = "validation" if number >= subjects - 2 else "training"
        if section == "training":
            pixels += np.bincount(label.ravel(), minlength=len(LABELS))
        sections[section].append(
            {
                "image": f"images/{case}.npy",
                "label": f"labels/{case}.npy",
                "subject": f"s{number:03d}",
                "laterality": "L",
                "view": "CC",
                "spacing_mm": [0.1, 0.1],
                "intensity_range": [0, 4095],
                "source_sha256": f"{seed:032d}{number:032d}",
            }
        )
    content = {
        "format_version": 1,
        "name": name,
        "licence": "none needed",
        "reference": "made by the tests",
        "labels": {str(i): label_name for i, label_name in enumerate(LABELS)},
        "ignore_label": None,
        "pixel_fraction": dict(zip(LABELS, (pixels / pixels.sum()).tolist(), strict=True)),
        "split": {"by": "subject", "seed": 0, "validation_fraction": 0.3},
        **sections,
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder
