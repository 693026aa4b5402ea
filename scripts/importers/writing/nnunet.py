"""Export of a dataset folder for nnU-Net, with the same folds: `nnUNet_raw` and `splits_final.json`.

Format: https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md. Images and labels become PNG,
which nnU-Net reads without pixel spacing; case names are kept, so that `scripts.compare --predictions` can read its
predictions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from transforms.atomic_write import atomic_file
from transforms.dataset import Dataset, open_array
from transforms.errors import UserError

TRAINED = ("training", "validation")
ENDING = ".png"
COLORS = ("R", "G", "B")
RESERVED = ("background", "ignore")
"""Names that nnU-Net gives a meaning of its own; the first is that of class 0."""


def export_nnunet(
    dataset: Path,
    out: Path,
    folds: Sequence[Sequence[str]] | None = None,
    number: int = 1,
    progress: bool = True,
) -> dict[str, Any]:
    """Write OUT/nnUNet_raw/Dataset001_NAME and OUT/nnUNet_preprocessed/Dataset001_NAME/splits_final.json.

    Args:
        folds: the subjects of each fold; None: one fold, the data set's own validation section.
        number: nnU-Net's number of the data set, 1 to 999.

    Returns the folders and the numbers of images and folds.

    Raises:
        UserError: an output folder exists, a training image has no label, or nnU-Net reserves the name of a class.
    """
    data = Dataset.load(dataset)
    if not 1 <= number <= 999:
        raise UserError(f"--number {number}: expected 1 to 999")
    name = f"Dataset{number:03d}_{re.sub(r'[^A-Za-z0-9]+', '', data.name) or 'mammograms'}"
    raw, preprocessed = out / "nnUNet_raw" / name, out / "nnUNet_preprocessed" / name
    if raw.exists() or preprocessed.exists():
        raise UserError(
            f"{raw if raw.exists() else preprocessed}: exists; remove it, or choose another OUT or --number"
        )
    trained = [item for section in TRAINED for item in data.items(section)]
    tested = data.items("test")
    data.check_labels(trained)
    splits, description = _splits(data, trained, folds), _description(data, len(trained))
    parts = [*(("Tr", item) for item in trained), *(("Ts", item) for item in tested)]
    for part, item in tqdm(parts, desc="export", delay=2, leave=False, disable=not progress):
        _write(raw / f"images{part}" / f"{item['case']}_0000{ENDING}", np.array(open_array(item["image"])))
        if item["label"] is not None:
            label = np.array(open_array(item["label"]))
            label[label >= data.num_classes] = data.num_classes  # nnU-Net expects the next number as ignore label
            _write(raw / f"labels{part}" / f"{item['case']}{ENDING}", label)
    _write_json(raw / "dataset.json", description)
    _write_json(preprocessed / "splits_final.json", splits)
    return {
        "raw": str(raw),
        "splits": str(preprocessed / "splits_final.json"),
        "training": len(trained),
        "test": len(tested),
        "folds": len(splits),
    }


def _splits(
    data: Dataset, items: Sequence[Mapping[str, Any]], folds: Sequence[Sequence[str]] | None
) -> list[dict[str, list[str]]]:
    validated = [{item["subject"] for item in data.items("validation")}] if folds is None else [set(f) for f in folds]
    return [
        {
            "train": sorted(item["case"] for item in items if item["subject"] not in fold),
            "val": sorted(item["case"] for item in items if item["subject"] in fold),
        }
        for fold in validated
    ]


def _description(data: Dataset, trained: int) -> dict[str, Any]:
    """Return nnU-Net's dataset.json."""
    reserved = [name for number, name in data.labels.items() if number and name in RESERVED]
    if reserved:
        raise UserError(
            f"{data.root}: class {reserved[0]} has a name that nnU-Net reserves; rename it in dataset.json, in labels "
            "and pixel_fraction"
        )
    labels = {name if number else "background": number for number, name in data.labels.items()}
    if data.ignore_label is not None:
        labels["ignore"] = data.num_classes
    channels = COLORS if data.colour else ("mammogram",)
    return {
        "channel_names": {str(number): name for number, name in enumerate(channels)},
        "labels": labels,
        "numTraining": trained,
        "file_ending": ENDING,
        "overwrite_image_reader_writer": "NaturalImage2DIO",
        "name": data.name,
        "licence": data.content.get("licence", ""),
        "reference": data.content.get("reference", ""),
    }


def _write(path: Path, values: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as part:
        Image.fromarray(values).save(part, format="PNG", compress_level=1)


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as part:
        part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
