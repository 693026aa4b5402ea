"""A dataset folder: dataset.json beside images/*.npy and labels/*.npy, checked when it is opened.

The arrays are plain .npy files, so that a memory map reads one crop without reading the whole image.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from transforms.dataset_folder import missing_files, read_content, without_garbage_collection
from transforms.dataset_items import Items, check_section, paths_of
from transforms.dataset_items import case_of as case_of
from transforms.dataset_schema import SECTIONS as SECTIONS
from transforms.dataset_schema import check_schema
from transforms.errors import UserError
from transforms.known_files import CHUNK, DIGEST, HEADER, VALUES, KnownFiles
from transforms.npy import check_image_type as check_image_type
from transforms.npy import check_type
from transforms.npy import open_array as open_array
from transforms.npy import values_of as values_of
from transforms.reading.limits import check_oblong

EVERY = "all"
"""All sections together, for a data set that no model was trained on."""

VOID = 255
"""Value of label pixels without a class and of crop pixels outside the image; every loss and score ignores it."""


@dataclass(frozen=True)
class Dataset:
    """Content of dataset.json, with absolute paths. Open one with `Dataset.load`.

    Attributes:
        root: the folder that holds images/ and labels/; that of dataset.json, unless dataset.json names another.
        name: name of the data set.
        labels: class id to name, from 0 without a gap.
        ignore_label: value of label pixels that have no class, or None.
        pixel_fraction: class name to its share of the training pixels that have a class.
    """

    root: Path
    name: str
    labels: dict[int, str]
    ignore_label: int | None
    pixel_fraction: dict[str, float]
    content: dict[str, Any] = field(repr=False)

    @classmethod
    def load(cls, folder: str | Path) -> Dataset:
        """Read and check `folder`/dataset.json.

        Raises:
            UserError: no such folder or file, a file that breaks the schema, an empty training or validation
                list (both may be empty in a folder of test images only), or a listed image that is missing.
        """
        with without_garbage_collection():
            return cls._load(Path(folder).expanduser())

    @classmethod
    def _load(cls, root: Path) -> Dataset:
        content = read_content(root)
        check_schema(root / "dataset.json", content)
        labels = {int(key): name for key, name in sorted(content["labels"].items(), key=lambda kv: int(kv[0]))}
        ignore = content["ignore_label"]
        _check_labels_table(root / "dataset.json", labels, ignore, content["pixel_fraction"])
        _check_enough_labels(root / "dataset.json", labels, content)
        files = (root / content.get("root", "")).resolve()
        dataset = cls(files, content["name"], labels, ignore, content["pixel_fraction"], content)
        dataset._check_sections()
        return dataset

    @property
    def class_names(self) -> list[str]:
        """Names in the order of the class ids."""
        return list(self.labels.values())

    @property
    def num_classes(self) -> int:
        return len(self.labels)

    @property
    def windowing(self) -> str:
        """Mapping from DICOM values to pixels (`read_mammogram`); new images must be read the same way."""
        return str(self.content.get("windowing", "voi"))

    @property
    def flip(self) -> str:
        """The edge at which the chest wall is in every image ("left", "right"), or "none"."""
        return str(self.content.get("flip", "none"))

    @property
    def colour(self) -> bool:
        """Whether the images are photographs (rows, columns, 3)."""
        return bool(self.content.get("colour", False))

    @property
    def source_values(self) -> list[int] | None:
        """Gray value of each class in the source label images, or None."""
        values = self.content.get("source_values")
        return None if values is None else [int(value) for value in values]

    def items(self, section: str) -> list[dict[str, Any]]:
        """New dictionaries for MONAI, one per image of "training", "validation", "test" or "all".

        Keys: image, label (absolute paths; label is None for an unlabeled image), subject, case, laterality, view,
        spacing_mm, intensity_range.
        """
        return list(self.each(section))

    def each(self, section: str) -> Items:
        """As `items`, but each dictionary is made on access."""
        check_section(section, (*SECTIONS, EVERY))
        if section != EVERY:
            return Items(self.root, self.content.get(section, []))
        return Items(self.root, [item for name in SECTIONS for item in self.content.get(name, [])])

    def count(self, section: str) -> int:
        """Number of images of a section."""
        return len(self.content.get(section, []))

    @cached_property
    def files(self) -> KnownFiles:
        """Cache of what was read of its arrays, also by earlier runs."""
        return KnownFiles(self.root)

    def class_weights(self) -> list[float]:
        """Loss weights w = 1 - x/100, with x the class's percentage of training pixels (paper, section 3.4)."""
        self._need_training()
        return [1.0 - self.pixel_fraction[name] for name in self.class_names]

    def ubiquitous(self, n: int = 2) -> list[int]:
        """Ids of the `n` classes with most training pixels, most frequent first (paper, section 3.1.2)."""
        self._need_training()
        fraction = [self.pixel_fraction[name] for name in self.class_names]
        return sorted(self.labels, key=lambda label: (-fraction[label], label))[:n]

    @property
    def intensity_ranges(self) -> list[list[int]]:
        """Distinct [lowest, highest] possible values of the images, as in [[0, 4095], [0, 255]]."""
        items = (item for section in SECTIONS for item in self.content.get(section, []))
        return [list(pair) for pair in sorted({tuple(item["intensity_range"]) for item in items})]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what a model learns from: classes, images, labels, sections; not of names or paths."""
        classes = {"labels": self.class_names, "ignore_label": self.ignore_label}
        return _sha256([classes, *self._hashes("label_sha256")])

    @cached_property
    def split_digest(self) -> str:
        """SHA-256 of the assignment of images to sections."""
        return _sha256(self._hashes())

    def check_labels(self, items: Sequence[dict[str, Any]]) -> set[int]:
        """Check, before the first epoch, that every label exists, fits its image and has known values only.

        Only the types and sizes of the images are checked; their pixels are not read.

        Args:
            items: result of `items(section)` or `each(section)`.

        Returns the label values that occur.

        Raises:
            UserError: for the first image or label that breaks a rule; names the file, its content and the remedy.
        """
        allowed, occurring = self._allowed(), np.zeros(256, bool)
        with self.files.reading(len(items), "reading labels") as done:
            for first in range(0, len(items), CHUNK):
                part = items[first : first + CHUNK]
                self._check_labels(part, allowed, occurring)
                done(len(part))
        return set(np.flatnonzero(occurring).tolist())

    def check_label(self, item: dict[str, Any], image: np.ndarray[Any, Any], label: np.ndarray[Any, Any]) -> None:
        """As `check_labels`, for one item whose arrays are open; its files are not cached."""
        _check_pair(item, *((str(array.dtype), array.shape) for array in (image, label)))
        seen, allowed = values_of(label), self._allowed()
        if (seen & ~allowed).any():
            raise UserError(unknown_values(item["label"], seen, allowed))

    def _allowed(self) -> np.ndarray[Any, Any]:
        """Mask (256,) of the values that a label map may hold."""
        allowed = np.zeros(256, bool)
        allowed[[*self.labels, *([] if self.ignore_label is None else [self.ignore_label])]] = True
        return allowed

    def _check_labels(
        self, items: Sequence[dict[str, Any]], allowed: np.ndarray[Any, Any], occurring: np.ndarray[Any, Any]
    ) -> None:
        """Check some of the items; add their label values to `occurring`."""
        paths = paths_of(items, "label")
        bare = items[paths.index(None)] if None in paths else None
        items = items if bare is None else items[: paths.index(None)]
        names = [self.files.names(paths_of(items, key)) for key in ("image", "label")]
        images = self.files.headers(self.files.look(names[0], HEADER, fresh=True))
        rows = self.files.look(names[1], HEADER | DIGEST | VALUES, fresh=True)
        labels, values = self.files.headers(rows), self.files.values(rows)
        unknown = (values & ~allowed).any(axis=1).tolist()
        fine = None
        for number, (image, label, odd) in enumerate(zip(images, labels, unknown, strict=True)):
            if odd or (image, label) != fine:
                _check_pair(items[number], image, label)
                fine = (image, label)
            if odd:
                raise UserError(unknown_values(items[number]["label"], values[number], allowed))
        occurring |= values.any(axis=0)
        if bare is not None:
            raise UserError(f"{bare['image']}: has no label; move it out of this section, or annotate it")

    def _hashes(self, *keys: str) -> list[list[str | None]]:
        lines = [
            [section, item.get("image_sha256", item["source_sha256"]), *(item.get(key) for key in keys)]
            for section in SECTIONS
            for item in self.content.get(section, [])
        ]
        unlabeled = any(None in line for line in lines)
        return sorted(lines, key=str if unlabeled else None)  # the same order, but None is only comparable as text

    def _need_training(self) -> None:
        if not self.content["training"]:
            raise UserError(
                f"{self.root}: holds test images only; to train, prepare a dataset with labels of two or more "
                "subjects (`scripts.prepare folder` or qupath, see docs/data.md)"
            )

    def _check_sections(self) -> None:
        path = self.root / "dataset.json"
        empty = [section for section in ("training", "validation") if not self.content[section]]
        if empty and not (len(empty) == 2 and self.content.get("test")):
            raise UserError(
                f"{path}: the {empty[0]} list is empty; prepare the dataset again from at least two subjects "
                "and with --validation between 0 and 1"
            )
        for item in self._listed():
            low, high = item["intensity_range"]
            if low >= high:
                raise UserError(
                    f"{path}: the intensity_range of {item['image']} is [{low}, {high}]; expected the smallest "
                    "and the largest possible value, as in [0, 4095]"
                )
        files = (item[key] for item in self._listed() for key in ("image", "label") if item[key] is not None)
        missing = missing_files(self.root, files)
        if missing:
            name = min(missing)
            section = next(s for s in SECTIONS for item in self.content.get(s, []) if name in item.values())
            raise UserError(
                f"{self.root / name}: missing, though {path} lists it under {section}; copy the whole folder again, "
                "or prepare it again"
            )

    def _listed(self) -> Iterator[dict[str, Any]]:
        """Entries of all sections."""
        return chain.from_iterable(self.content.get(section, []) for section in SECTIONS)


def _check_pair(item: dict[str, Any], image: tuple[str, tuple[int, ...]], label: tuple[str, tuple[int, ...]]) -> None:
    """Raise UserError unless type and shape of an image and its label match."""
    check_oblong(item["image"], *image[1][:2])
    check_type(item["image"], image[0])
    if label[1] != image[1][:2]:
        raise UserError(
            f"{item['label']}: is {_size(label[1])}, its image {_size(image[1])} (rows x columns); prepare "
            "the dataset again from label maps of the same size as the image"
        )
    if label[0] != "uint8":
        raise UserError(f"{item['label']}: holds {label[0]}; expected uint8")


def unknown_values(path: str | Path, seen: np.ndarray[Any, Any], allowed: np.ndarray[Any, Any]) -> str:
    """Return the error message for a label file with values of no class."""
    found, known = np.flatnonzero(seen).tolist(), np.flatnonzero(allowed).tolist()
    remedy = "specify every value when preparing the dataset, as in --values 0=background,1=…"
    if str(path).lower().endswith((".jpg", ".jpeg")):
        remedy = "JPEG changes label values: save label images as PNG"
    elif set(found) <= {0, 255}:
        remedy = "this is a 0/255 mask: prepare it with --values 0=background,255=<name of the structure>"
    return f"{path}: holds the values {listed(found)}; allowed are {listed(known)}; {remedy}"


def listed(values: list[int]) -> str:
    """ "0, 1, 2"; of more than twelve values, the first twelve and "… (40 in all)"."""
    text = ", ".join(str(value) for value in values[:12])
    return text if len(values) <= 12 else f"{text}, … ({len(values)} in all)"


def _size(shape: Sequence[int]) -> str:
    return " x ".join(str(length) for length in shape)


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _check_labels_table(path: Path, labels: dict[int, str], ignore: int | None, fraction: dict[str, float]) -> None:
    if list(labels) != list(range(len(labels))):
        raise UserError(f"{path}: the label ids are {listed(list(labels))}; expected 0 to {len(labels) - 1}")
    if len(set(labels.values())) != len(labels):
        raise UserError(f"{path}: two labels have the same name; rename one")
    if ignore is not None and ignore in labels:
        raise UserError(f"{path}: ignore_label {ignore} is also the class {labels[ignore]!r}; expected 255 or null")
    missing = [name for name in labels.values() if name not in fraction]
    if missing:
        raise UserError(f"{path}: pixel_fraction has no entry for {', '.join(missing)}; prepare the dataset again")


def _check_enough_labels(path: Path, labels: dict[int, str], content: dict[str, Any]) -> None:
    """Require two or more classes; a data set without label maps may have none."""
    labelled = any(item["label"] is not None for section in SECTIONS for item in content.get(section, []))
    if len(labels) < 2 and (labels or labelled):
        raise UserError(f"{path}: expected two or more classes, the first for the background; found {len(labels)}")
