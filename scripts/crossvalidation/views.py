"""Dataset folder per fold, with a dataset.json that refers to the images of the original without copies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.records.tables import write_text
from scripts.crossvalidation.folds import TRAINED
from transforms.dataset import SECTIONS, Dataset, open_array
from transforms.errors import UserError

Views = list[dict[str, Any]]


def fold_views(data: Dataset, folds: Sequence[Collection[str]], seed: int, share: float = 1.0) -> Views:
    """Return the dataset.json of every fold: its own subjects for validation, those of other folds for training.

    Args:
        data: data set.
        folds: subjects of each fold.
        seed: recorded in the split; also orders the subjects from which `share` is taken.
        share: fraction of the subjects of the other folds to train on; larger fractions contain smaller ones.

    Raises:
        UserError: an image has no label, or fewer than two subjects are left to train on.
    """
    items = [item for section in TRAINED for item in data.content[section]]
    bare = [item["image"] for item in items if item["label"] is None]
    if bare:
        raise UserError(f"{data.root / bare[0]}: has no label; a cross-validation needs one for each image")
    counts = {item["image"]: _pixels(data, item["label"]) for item in items}
    views = []
    for fold in folds:
        sections = sections_of_fold(data, fold, folds)
        kept = nested({item["subject"] for item in sections["training"]}, share, seed)
        sections["training"] = [item for item in sections["training"] if item["subject"] in kept]
        views.append(_view(data, counts, sections, seed))
    return views


def nested(subjects: Collection[str], share: float, seed: int) -> set[str]:
    """Return a fraction of the subjects, the first in the order of a hash; larger fractions contain smaller ones.

    Raises:
        UserError: fewer than two subjects are left.
    """
    order = sorted(subjects, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    count = round(share * len(order))
    if count < min(2, len(order)):
        raise UserError(f"--train_shares {share:g}: leaves {count} of {len(order)} subjects to train on; give more")
    return set(order[:count])


def sections_of_fold(data: Dataset, fold: Collection[str], folds: Sequence[Collection[str]]) -> dict[str, Views]:
    """Return the images of each section for one validation fold; subjects in no fold are in the test section."""
    sections: dict[str, Views] = {name: [] for name in SECTIONS}
    validated, dealt = set(fold), {subject for each in folds for subject in each}
    for item in (item for name in TRAINED for item in data.content[name]):
        place = "validation" if item["subject"] in validated else "training" if item["subject"] in dealt else "test"
        sections[place].append(item)
    sections["test"] = [*data.content.get("test", []), *sections["test"]]
    return sections


def _view(
    data: Dataset, counts: Mapping[str, NDArray[np.int64]], sections: Mapping[str, Views], seed: int
) -> dict[str, Any]:
    training, validation = sections["training"], sections["validation"]
    pixels = sum((counts[item["image"]] for item in training), np.zeros(data.num_classes, np.int64))
    share = pixels / max(1, int(pixels.sum()))
    return {
        **data.content,
        "root": str(data.root),
        "pixel_fraction": dict(zip(data.class_names, share.tolist(), strict=True)),
        "split": {
            "by": "subject",
            "seed": seed,
            "validation_fraction": len(validation) / len([*training, *validation]),
        },
        **sections,
    }


def _pixels(data: Dataset, label: str) -> NDArray[np.int64]:
    """Return the number of pixels of each class."""
    array = open_array(data.root / label)
    counts = np.zeros(256, np.int64)
    for first in range(0, array.shape[0], 256):
        counts += np.bincount(np.asarray(array[first : first + 256]).ravel(), minlength=256)
    return counts[: data.num_classes]


def write_view(view: Mapping[str, Any], folder: Path) -> None:
    """Write folder/dataset.json."""
    write_text(folder / "dataset.json", json.dumps(view, indent=1, ensure_ascii=False) + "\n")
