"""Integrity report of a dataset folder: errors and notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.importers.writing.facts import Facts, findings
from scripts.importers.writing.near_copies import descriptor
from scripts.importers.writing.parallel import in_order, worker_count
from scripts.importers.writing.progress import with_progress
from transforms.dataset import SECTIONS, Dataset, check_image_type, open_array
from transforms.dataset_check import check_digest
from transforms.digests import array_sha256
from transforms.errors import UserError
from transforms.row_counts import counts_file, row_counts

Item = dict[str, Any]


@dataclass
class Report:
    """Result of an integrity check.

    Attributes:
        facts: section to the properties of its readable images.
        pixels: section to pixels of each class.
        images: section to its number of images.
        subjects: section to its number of subjects.
        errors: findings that make results wrong; any of them causes exit code 1.
        warnings: other findings for the user.
    """

    dataset: Dataset
    facts: dict[str, list[Facts]] = field(default_factory=dict)
    pixels: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    subjects: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check_dataset(folder: Path, progress: bool = True, workers: int | None = 1) -> Report:
    """Read every image and label of a dataset folder.

    Args:
        workers: reader processes; None: chosen automatically.

    Raises:
        UserError: not a dataset folder, or an invalid dataset.json.
    """
    dataset = Dataset.load(folder)
    report = Report(dataset)
    alone = replace(dataset, content={})  # sent to another process with each image
    tasks = [
        (alone, section, item, stored)
        for section in SECTIONS
        for item, stored in zip(dataset.items(section), dataset.content.get(section, []), strict=True)
    ]
    for section in SECTIONS:
        report.facts[section] = []
        report.images[section] = len(dataset.items(section))
        report.subjects[section] = len({item["subject"] for item in dataset.items(section)})
    processes = worker_count(workers, [Path(item["image"]) for _, _, item, _ in tasks])
    for section, found in with_progress(in_order(_look, tasks, processes, _lost), len(tasks), progress):
        if isinstance(found, str):
            report.errors.append(found)
        else:
            report.facts[section].append(found)
    for section, facts in report.facts.items():
        counts = [one.counts for one in facts if one.counts is not None]
        report.pixels[section] = np.array(counts, np.int64).reshape(len(counts), len(dataset.labels)).sum(axis=0)
    more = findings(report.facts, dataset.class_names, dataset.content.get("split", {}).get("by") == "image")
    report.errors += more.errors
    report.warnings += more.warnings
    _check_fractions(report)
    _check_files(report, [item for _, _, item, _ in tasks])
    return report


def _look(task: tuple[Dataset, str, Item, Mapping[str, Any]]) -> tuple[str, Facts | str]:
    """Return the section of one image, and its properties or an error message."""
    dataset, section, item, stored = task
    try:
        return section, _facts(dataset, item, stored)
    except UserError as error:
        return section, str(error)


def _lost(task: tuple[Dataset, str, Item, Mapping[str, Any]]) -> tuple[str, str]:
    return task[1], f"{task[2]['image']}: reading it ended the process: not enough memory"


def _facts(dataset: Dataset, item: Item, stored: Mapping[str, Any]) -> Facts:
    image = open_array(item["image"])
    check_image_type(item["image"], image)
    low, high = int(image.min()), int(image.max())
    if not item["intensity_range"][0] <= low <= high <= item["intensity_range"][1]:
        raise UserError(
            f"{item['image']}: values {low} to {high}, outside its intensity_range {item['intensity_range']}"
        )
    digest = _same(item["image"], image, stored.get("image_sha256"))
    counts = None
    if item["label"] is not None:
        label = open_array(item["label"])
        dataset.check_label(item, image, label)
        _same(item["label"], label, stored.get("label_sha256"))
        rows = row_counts(label, len(dataset.labels))
        kept = counts_file(item["label"])
        if kept.is_file() and _misleads(kept, rows):
            raise UserError(f"{kept}: does not match {item['label']}; delete it, or prepare the dataset again")
        counts = rows.sum(axis=1, dtype=np.int64).tolist()
    return Facts(item["case"], stored, (image.shape[0], image.shape[1]), low, high, counts, digest, descriptor(image))


def _misleads(path: Path, rows: NDArray[np.uint32]) -> bool:
    """Whether crops would be drawn with counts of another label map; counts of another size are not used."""
    try:
        kept = np.load(path, allow_pickle=False)
    except Exception:  # NumPy raises many kinds on damaged files
        return False
    return isinstance(kept, np.ndarray) and kept.shape == rows.shape and not np.array_equal(kept, rows)


def _same(path: str, array: NDArray[Any], recorded: str | None) -> str:
    digest = array_sha256(array)
    check_digest(path, digest, recorded)
    return digest


def _check_fractions(report: Report) -> None:
    training = report.pixels["training"]
    found = training / max(int(training.sum()), 1)
    stated = np.array([report.dataset.pixel_fraction[name] for name in report.dataset.class_names])
    if not np.allclose(found, stated, atol=1e-4):
        report.errors.append(
            "pixel_fraction in dataset.json does not match the training labels, so the loss weights are wrong; "
            "prepare the dataset again"
        )


def _check_files(report: Report, items: list[Item]) -> None:
    listed = {Path(item[key]) for item in items for key in ("image", "label") if item[key]}
    found = {path for name in ("images", "labels") for path in (report.dataset.root / name).glob("*.npy")}
    extra = sorted(path.name for path in found - listed)
    if extra:
        report.warnings.append(f"{len(extra)} files are in no section, such as {extra[0]}")
