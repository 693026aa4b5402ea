"""Import Cityscapes as downloaded: leftImg8bit/ and gtFine/, 34 ids to the 19 evaluated classes.

Source: cityscapesScripts, helpers/labels.py (ids and train ids) and README (folders). Label images of train ids are not
needed. Data: Cordts et al., CVPR 2016, under its own terms.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from scripts.importers.import_options import DEFAULTS, ImportOptions
from scripts.importers.sources.folder import read_label
from scripts.importers.writing.cases import Case
from scripts.importers.writing.writer import Summary, write_dataset
from transforms.dataset import VOID
from transforms.errors import UserError
from transforms.reading.photographs import read_photograph

CLASSES = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
    "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26,
    "truck": 27, "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
}  # fmt: skip
"""Name of each evaluated class and its id in *_labelIds.png, in the order of the train ids 0 … 18."""

LAST_ID = 33
SECTIONS = {"train": "training", "val": "validation", "test": "test"}
LICENCE = "Cityscapes terms of use: non-commercial research, registration, no redistribution"
REFERENCE = "Cordts et al., The Cityscapes dataset for semantic urban scene understanding, CVPR 2016"


def import_cityscapes(root: Path, out: Path, options: ImportOptions = DEFAULTS) -> Summary:
    """Write a dataset folder of color images with the official splits; each image is its own subject.

    Args:
        root: the folder that holds leftImg8bit/ and gtFine/.
        options: options for mammograms (flip, splits) do not apply.

    Raises:
        UserError: another folder, or an image of train or val without *_gtFine_labelIds.png.
    """
    root = Path(root)
    images = _images(root)
    table = np.full(256, -1, np.int16)
    table[: LAST_ID + 1] = VOID
    for label, value in enumerate(CLASSES.values()):
        table[value] = label
    return write_dataset(
        Path(out),
        [_case(root, split, path, table) for split, path in images],
        replace(options.with_terms(LICENCE, REFERENCE), split_by="image", windowing="none", flip="none"),
        labels=list(CLASSES),
        ignore_label=VOID,
        colour=True,
        source_values=list(CLASSES.values()),
    )


def _images(root: Path) -> list[tuple[str, Path]]:
    """Return (split, image) of every leftImg8bit/<split>/<city>/*_leftImg8bit.png."""
    if not (root / "leftImg8bit").is_dir() or not (root / "gtFine").is_dir():
        there = ", ".join(sorted(p.name for p in root.iterdir())[:5]) if root.is_dir() else "no such folder"
        raise UserError(f"{root}: expected the folders leftImg8bit and gtFine in it, found {there or 'nothing'}")
    found = [
        (split, path)
        for split in SECTIONS
        for path in sorted((root / "leftImg8bit" / split).glob("*/*_leftImg8bit.png"))
    ]
    if not found:
        raise UserError(f"{root / 'leftImg8bit'}: no train/<city>/*_leftImg8bit.png, nor val or test; unpack it here")
    return found


def _case(root: Path, split: str, path: Path, table: np.ndarray) -> Case:
    base = path.name.removesuffix("_leftImg8bit.png")
    label = root / "gtFine" / split / path.parent.name / f"{base}_gtFine_labelIds.png"
    if split != "test" and not label.is_file():
        raise UserError(f"{label}: missing, though {path.name} is in {split}; unpack gtFine_trainvaltest.zip here")
    return Case(
        source=path,
        subject=f"{split}/{base}",
        read_image=partial(read_photograph, path),
        # the public label images of test hold only the ego vehicle and the image border
        read_label=None if split == "test" else partial(read_label, label, table),
        section=SECTIONS[split],
    )
