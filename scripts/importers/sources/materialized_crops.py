"""A dataset of balanced crops of another dataset's training images (paper, section 3.1.2), with replicas (3.2).

Subjects and sections are kept. Training images become crops, drawn by `RandBalancedCropd`; validation and test images
stay whole and unchanged, so that scores refer to whole images, and no replica is used for validation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scripts.importers.import_options import DEFAULTS, ImportOptions
from scripts.importers.writing.cases import Case, Label
from scripts.importers.writing.import_summary import Summary
from scripts.importers.writing.writer import write_dataset
from transforms.crops import RandBalancedCropd
from transforms.dataset import SECTIONS, VOID, Dataset, open_array
from transforms.errors import UserError
from transforms.reading.mammogram import Mammogram
from transforms.replicas import replica, techniques

KEYS = ("image", "label")
_KEPT = ("split", "flip", "colour", "source_values")  # keys of dataset.json


@dataclass(frozen=True)
class Cut:
    """Specification of a crop, which makes it reproducible in any process.

    Attributes:
        crop_size: side in pixels; 0 is the whole image.
        number: number of the crop among those of its image and replica.
        replica: 0 is the image itself, see `transforms.replicas`.
        void: value of label pixels outside the image.
    """

    image: Path
    label: Path
    intensity_range: tuple[int, int]
    num_classes: int
    ubiquitous: tuple[int, ...]
    crop_size: int
    number: int
    replica: int
    seed: int
    void: int | None

    def random_seed(self) -> int:
        """Return the crop's own seed; its position thus does not depend on the number of other crops."""
        text = f"{self.seed}:{self.image.stem}:{self.replica}:{self.number}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def import_crops(
    dataset: Path,
    out: Path,
    options: ImportOptions = DEFAULTS,
    *,
    crop_size: int = 256,
    per_image: int = 10,
    augment: int = 1,
) -> Summary:
    """Write a dataset folder of crops.

    Args:
        dataset: a dataset folder with labels.
        crop_size: side of a crop in pixels; 256, 700, 900 and 1500 in the paper. 0 keeps images whole.
        per_image: crops per training image, and per replica of it.
        augment: images per training image: the original and `augment` - 1 replicas.
        options: `seed` determines crops and replicas; options that the source dataset determines do not apply.

    Raises:
        UserError: no such dataset, no training images in it, or numbers below 1.
    """
    found = Dataset.load(dataset)
    found.class_weights()  # refuses a folder of test images only
    if per_image < 1 or augment < 1 or crop_size < 0:
        raise UserError(
            f"--per_image {per_image} --augment {augment} --crop_size {crop_size}: expected numbers of at least 1 "
            "(--crop_size 0 keeps images whole)"
        )
    found.check_labels(found.items("training"))
    shapes = {open_array(item["label"]).shape for item in found.items("training")} if crop_size else set()
    void = found.ignore_label
    if void is None and any(min(shape) < crop_size for shape in shapes):
        void = VOID
    settings = {"crop_size": crop_size, "per_image": per_image, "augment": augment, "seed": options.seed}
    content, threads = found.content, torch.get_num_threads()
    torch.set_num_threads(1)  # crops are too small for more
    try:
        return write_dataset(
            out,
            list(_cases(found, settings, void)),
            replace(
                options,
                name=options.name or found.name,
                licence=content.get("licence", ""),
                reference=content.get("reference", ""),
                windowing=found.windowing,
            ),
            labels=found.class_names,
            ignore_label=void,
            recorded={
                **{key: content[key] for key in _KEPT if key in content},
                "crops": {**settings, "of": found.digest},
            },
        )
    finally:
        torch.set_num_threads(threads)


def _cases(found: Dataset, settings: dict[str, int], void: int | None) -> Iterator[Case]:
    """Yield cases in the order of the source dataset's subjects, so that these keep their numbers."""
    entries = [
        (section, item, stored)
        for section in SECTIONS
        for item, stored in zip(found.items(section), found.content.get(section, []), strict=True)
    ]
    for section, item, stored in sorted(entries, key=lambda entry: (entry[1]["subject"], entry[1]["case"])):
        if section != "training":
            label = None if item["label"] is None else partial(_whole_label, Path(item["label"]))
            yield _case(item, stored, section, partial(_whole_image, Path(item["image"]), _facts(stored)), label)
            continue
        for number in range(settings["per_image"] if settings["crop_size"] else 1):
            for version in range(settings["augment"]):
                cut = Cut(
                    image=Path(item["image"]),
                    label=Path(item["label"]),
                    intensity_range=tuple(item["intensity_range"]),
                    num_classes=found.num_classes,
                    ubiquitous=tuple(found.ubiquitous()),
                    crop_size=settings["crop_size"],
                    number=number,
                    replica=version,
                    seed=settings["seed"],
                    void=void,
                )
                read = partial(_cut_image, cut, _facts(stored))
                more = {"replica": list(techniques(version))} if version else {}
                yield _case(item, stored, section, read, partial(_cut_label, cut), more)


def _case(
    item: dict[str, Any],
    stored: dict[str, Any],
    section: str,
    image: partial[Mammogram],
    label: partial[Label] | None,
    more: dict[str, Any] | None = None,
) -> Case:
    recorded = {key: stored[key] for key in ("flipped", "attributes", "source_sha256") if key in stored} | (more or {})
    return Case(Path(item["image"]), item["subject"], image, label, section, recorded=recorded)


def _facts(stored: dict[str, Any]) -> dict[str, Any]:
    """Return a dataset's properties of an image, as arguments of a `Mammogram`."""
    spacing = stored.get("spacing_mm")
    return {
        "intensity_range": tuple(stored["intensity_range"]),
        "laterality": stored.get("laterality"),
        "view": stored.get("view"),
        "spacing_mm": None if spacing is None else tuple(spacing),
        "spacing_source": stored.get("spacing_source", "none"),
        "burned_in": stored.get("burned_in"),
        "intensity_source": stored.get("intensity_source", "as stored"),
    }


def _whole_image(path: Path, facts: dict[str, Any]) -> Mammogram:
    return Mammogram(np.array(open_array(path)), **facts)


def _whole_label(path: Path, shape: tuple[int, int]) -> Label:
    return np.array(open_array(path))


def _cut_image(cut: Cut, facts: dict[str, Any]) -> Mammogram:
    return Mammogram(_draw(cut)[0], **facts)


def _cut_label(cut: Cut, shape: tuple[int, int]) -> Label:
    label = _draw(cut)[1]
    if cut.void is not None and cut.void != VOID:
        label = np.where(label == VOID, np.uint8(cut.void), label)
    return label


@lru_cache(maxsize=1)  # image and label are requested one after the other
def _draw(cut: Cut) -> tuple[NDArray[Any], Label]:
    """Return pixels and label of one crop, in the stored type; deterministic."""
    dtype = open_array(cut.image).dtype
    data = {"image": str(cut.image), "label": str(cut.label)}
    size = cut.crop_size or open_array(cut.label).shape
    drawn = _cropper(size, cut.num_classes, cut.ubiquitous).set_random_state(cut.random_seed())(data)
    if cut.replica:
        made = replica(cut.replica, KEYS, cut.intensity_range).set_random_state(cut.random_seed())(drawn)
        drawn = {key: made[key] for key in KEYS}
    pixels = np.asarray(drawn["image"]).round().astype(dtype)
    label = np.asarray(drawn["label"]).astype(np.uint8)[0]
    return pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)), label


@cache
def _cropper(size: int | tuple[int, int], num_classes: int, ubiquitous: tuple[int, ...]) -> RandBalancedCropd:
    """Return this process's cropper, which caches the pixel counts per class and row of images."""
    return RandBalancedCropd(KEYS, size, num_classes, ubiquitous)
