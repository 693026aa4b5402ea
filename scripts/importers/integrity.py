"""Look at everything in a dataset folder: what would spoil a training, and what a person should know."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.importers.writer import array_sha256, with_progress
from transforms.dataset import SECTIONS, Dataset, open_array
from transforms.errors import UserError

Item = dict[str, Any]


@dataclass
class Report:
    """What was found.

    Attributes:
        pixels: section to pixels of each class.
        images: section to its number of images.
        subjects: section to its number of subjects.
        errors: what makes results wrong; any of them is exit code 1.
        warnings: what a person should know.
    """

    dataset: Dataset
    pixels: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    subjects: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check_dataset(folder: Path, progress: bool = True) -> Report:
    """Read every image and label of a dataset folder.

    Raises:
        UserError: it is no dataset folder, or its dataset.json is wrong.
    """
    report = Report(Dataset.load(folder))
    items = [
        (section, item, stored)
        for section in SECTIONS
        for item, stored in zip(report.dataset.items(section), report.dataset.content.get(section, []), strict=True)
    ]
    hashes: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for section in SECTIONS:
        report.pixels[section] = np.zeros(report.dataset.num_classes, np.int64)
        report.images[section] = sum(section == other for other, _, _ in items)
        report.subjects[section] = len({item["subject"] for other, item, _ in items if other == section})
    for section, item, stored in with_progress(items, progress):
        try:
            digest = _check_image(report, item, stored)
            hashes[digest].append((section, item["case"]))
            if item["label"] is not None:
                report.pixels[section] += _check_label(report, item, stored)
        except UserError as error:
            report.errors.append(str(error))
    _check_split(report, items, hashes)
    _check_classes(report)
    _check_spacing(report, [item for _, item, _ in items])
    _check_files(report, items)
    return report


def _check_image(report: Report, item: Item, stored: Item) -> str:
    image = open_array(item["image"])
    if image.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{item['image']}: holds {image.dtype}; expected uint8 or uint16")
    low, high = int(image.min()), int(image.max())
    if not item["intensity_range"][0] <= low <= high <= item["intensity_range"][1]:
        raise UserError(
            f"{item['image']}: values {low} to {high}, outside its intensity_range {item['intensity_range']}"
        )
    if low == high:
        report.warnings.append(f"{item['case']}: every pixel is {low}")
    return _same(item["image"], image, stored.get("image_sha256"))


def _check_label(report: Report, item: Item, stored: Item) -> NDArray[np.int64]:
    report.dataset.check_labels([item])
    label = open_array(item["label"])
    _same(item["label"], label, stored.get("label_sha256"))
    counts = sum(np.bincount(label[i : i + 256].ravel(), minlength=256) for i in range(0, len(label), 256))
    return np.asarray(counts, np.int64)[: report.dataset.num_classes]


def _same(path: str, array: NDArray[Any], recorded: str | None) -> str:
    digest = array_sha256(array)
    if recorded is not None and digest != recorded:
        raise UserError(f"{path}: changed since it was imported; prepare the dataset again")
    return digest


def _check_split(report: Report, items: list[tuple[str, Item, Item]], hashes: dict[str, list[tuple[str, str]]]) -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for section, item, _ in items:
        places[item["subject"]].add(section)
    shared = sorted(subject for subject, sections in places.items() if len(sections) > 1)
    if shared:
        text = f"{len(shared)} subjects stand in two sections, such as {shared[0]}: scores will be too good"
        wanted = report.dataset.content.get("split", {}).get("by") == "image"
        (report.warnings if wanted else report.errors).append(text)
    for copies in hashes.values():
        names = " and ".join(f"{case} ({section})" for section, case in copies[:2])
        if len({section for section, _ in copies}) > 1:
            report.errors.append(f"the same image stands in two sections: {names}")
        elif len(copies) > 1:
            report.warnings.append(f"the same image stands there {len(copies)} times: {names}")


def _check_classes(report: Report) -> None:
    training = report.pixels["training"]
    for section in ("training", "validation"):
        absent = [report.dataset.labels[int(label)] for label in np.flatnonzero(report.pixels[section] == 0)]
        if absent:
            report.warnings.append(f"no {section} pixel of {', '.join(absent)}")
    found = training / max(int(training.sum()), 1)
    stated = np.array([report.dataset.pixel_fraction[name] for name in report.dataset.class_names])
    if not np.allclose(found, stated, atol=1e-4):
        report.errors.append(
            "pixel_fraction in dataset.json is not that of the training labels, so the loss weights are wrong; "
            "prepare the dataset again"
        )


def _check_spacing(report: Report, items: list[Item]) -> None:
    known = [item["spacing_mm"][0] for item in items if item["spacing_mm"]]
    if known and len(known) < len(items):
        report.warnings.append(f"{len(items) - len(known)} of {len(items)} images have no pixel spacing")
    if known and max(known) > 1.5 * min(known):
        report.warnings.append(f"pixel spacing varies from {min(known):.3g} to {max(known):.3g} mm")


def _check_files(report: Report, items: list[tuple[str, Item, Item]]) -> None:
    listed = {Path(item[key]) for _, item, _ in items for key in ("image", "label") if item[key]}
    found = {path for name in ("images", "labels") for path in (report.dataset.root / name).glob("*.npy")}
    extra = sorted(path.name for path in found - listed)
    if extra:
        report.warnings.append(f"{len(extra)} files are in no section, such as {extra[0]}")
