"""A dataset folder: dataset.json beside images/*.npy and labels/*.npy, checked when it is opened.

The arrays are plain .npy files, so that one crop is read through a memory map without reading the image.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from os.path import isfile
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np

from transforms.errors import UserError
from transforms.reading.limits import check_oblong
from transforms.strict_json import read_json

SECTIONS = ("training", "validation", "test")
EVERY = "all"
"""All sections together: for a data set that nothing was trained with."""

VOID = 255
"""Value of label pixels without a class, and of those beyond the image in a crop; every loss and score ignores it."""


@dataclass(frozen=True)
class Dataset:
    """What dataset.json says, with paths made absolute. Open one with `Dataset.load`.

    Attributes:
        root: the folder that holds images/ and labels/; that of dataset.json, unless it names another.
        name: what the maker called it.
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
                list (both may be empty in a folder of test images only), or an image that is listed but not there.
        """
        root = Path(folder).expanduser()
        content = _read(root)
        _check_schema(root / "dataset.json", content)
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
        """How DICOM values became pixels (`read_mammogram`); new images must be read the same way."""
        return str(self.content.get("windowing", "voi"))

    @property
    def flip(self) -> str:
        """The side that every breast was brought to ("left", "right"), or "none"."""
        return str(self.content.get("flip", "none"))

    @property
    def colour(self) -> bool:
        """Whether the images are photographs (rows, columns, 3)."""
        return bool(self.content.get("colour", False))

    @property
    def source_values(self) -> list[int] | None:
        """Gray value of each class in the label images that the data set was made from, or None."""
        values = self.content.get("source_values")
        return None if values is None else [int(value) for value in values]

    def items(self, section: str) -> list[dict[str, Any]]:
        """Fresh dictionaries for MONAI, one an image of "training", "validation" or "test", or of "all".

        Keys: image, label (absolute paths; label None where there is none), subject, case, laterality, view,
        spacing_mm, intensity_range.
        """
        if section not in (*SECTIONS, EVERY):
            raise UserError(f"section is {section!r}; expected one of {', '.join((*SECTIONS, EVERY))}")
        return [
            {
                "image": str(self.root / item["image"]),
                "label": None if item["label"] is None else str(self.root / item["label"]),
                "subject": item["subject"],
                "case": Path(item["image"]).stem,
                "laterality": item.get("laterality"),
                "view": item.get("view"),
                "spacing_mm": item.get("spacing_mm"),
                "intensity_range": list(item["intensity_range"]),
            }
            for name in (SECTIONS if section == EVERY else (section,))
            for item in self.content.get(name, [])
        ]

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
        """The different [lowest, highest] values that its images could hold, as in [[0, 4095], [0, 255]]."""
        items = (item for section in SECTIONS for item in self.content.get(section, []))
        return [list(pair) for pair in sorted({tuple(item["intensity_range"]) for item in items})]

    @property
    def digest(self) -> str:
        """SHA-256 of what is learned from: classes, images, labels, sections; not of names or paths."""
        classes = {"labels": self.class_names, "ignore_label": self.ignore_label}
        return _sha256([classes, *self._hashes("label_sha256")])

    @property
    def split_digest(self) -> str:
        """SHA-256 of which image stands in which section."""
        return _sha256(self._hashes())

    def check_labels(self, items: list[dict[str, Any]]) -> set[int]:
        """Check, before the first epoch, that every label exists, fits its image and has known values only.

        Of the images, types and sizes are checked, which costs no reading of pixels.

        Args:
            items: what `items(section)` returned.

        Returns the values that occur.

        Raises:
            UserError: for the first image or label that breaks a rule; names the file, what it holds and the remedy.
        """
        allowed = np.zeros(256, bool)
        allowed[[*self.labels, *([] if self.ignore_label is None else [self.ignore_label])]] = True
        occurring = np.zeros(256, bool)
        for item in items:
            if item["label"] is None:
                raise UserError(f"{item['image']}: has no label; move it out of this section, or annotate it")
            image, label = open_array(item["image"]), open_array(item["label"])
            check_oblong(item["image"], image.shape[0], image.shape[1])
            check_image_type(item["image"], image)
            if label.shape != image.shape[:2]:
                raise UserError(
                    f"{item['label']}: is {_size(label)}, its image {_size(image)} (rows x columns); prepare "
                    "the dataset again from label maps of the image's size"
                )
            if label.dtype != np.uint8:
                raise UserError(f"{item['label']}: holds {label.dtype}; expected uint8")
            seen = values_of(label)
            if (seen & ~allowed).any():
                raise UserError(unknown_values(item["label"], seen, allowed))
            occurring |= seen
        return set(np.flatnonzero(occurring).tolist())

    def _hashes(self, *keys: str) -> list[list[str | None]]:
        lines = [
            [section, item.get("image_sha256", item["source_sha256"]), *(item.get(key) for key in keys)]
            for section in SECTIONS
            for item in self.content.get(section, [])
        ]
        return sorted(lines, key=str)

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
        for section in SECTIONS:
            for item in self.content.get(section, []):
                low, high = item["intensity_range"]
                if low >= high:
                    raise UserError(
                        f"{path}: the intensity_range of {item['image']} is [{low}, {high}]; expected the smallest "
                        "and the largest possible value, as in [0, 4095]"
                    )
                for name in filter(None, (item["image"], item["label"])):
                    if not isfile(self.root / name):  # False also for a name that no file can have
                        raise UserError(
                            f"{self.root / name}: missing, though {path} lists it under {section}; copy the whole "
                            "folder again, or prepare it again"
                        )


def open_array(path: str | Path) -> np.ndarray[Any, Any]:
    """Memory map of an images/ or labels/ file: (rows, columns), or (rows, columns, 3) where images have color.

    Slice it, and only that part is read.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; copy the whole dataset folder again, or prepare it again") from None
    except Exception as error:  # NumPy reads the header as Python: of a damaged one it raises many kinds
        raise UserError(
            f"{path}: not a NumPy array that can be read ({type(error).__name__}); prepare the dataset again"
        ) from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: an archive of arrays; expected one array; prepare the dataset again")
    if (array.ndim != 2 and array.shape[2:] != (3,)) or not array.size:
        raise UserError(f"{path}: has shape {array.shape}; expected (rows, columns) or (rows, columns, 3)")
    return array


def check_image_type(path: str | Path, image: np.ndarray[Any, Any]) -> None:
    """Raise UserError unless an image holds whole numbers as scripts.prepare writes them."""
    if image.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{path}: holds {image.dtype}; expected uint8 or uint16; prepare the dataset again")


def values_of(label: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which of the 256 possible values a uint8 label map holds, as 256 booleans; read strip by strip."""
    seen = np.zeros(256, bool)
    for first in range(0, label.shape[0], 256):
        seen[label[first : first + 256]] = True
    return seen


def unknown_values(path: str | Path, seen: np.ndarray[Any, Any], allowed: np.ndarray[Any, Any]) -> str:
    """The message for a label file with values that no class has."""
    found, known = np.flatnonzero(seen).tolist(), np.flatnonzero(allowed).tolist()
    remedy = "name every value when preparing the dataset, as in --values 0=background,1=…"
    if str(path).lower().endswith((".jpg", ".jpeg")):
        remedy = "JPEG changes label values: save label images as PNG"
    elif set(found) <= {0, 255}:
        remedy = "this is a 0/255 mask: prepare it with --values 0=background,255=<name of the structure>"
    return f"{path}: holds the values {listed(found)}; allowed are {listed(known)}; {remedy}"


def listed(values: list[int]) -> str:
    """ "0, 1, 2" with a "… (40 in all)" after twelve."""
    text = ", ".join(str(value) for value in values[:12])
    return text if len(values) <= 12 else f"{text}, … ({len(values)} in all)"


def _size(array: np.ndarray[Any, Any]) -> str:
    return " x ".join(str(length) for length in array.shape)


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _read(root: Path) -> dict[str, Any]:
    path = root / "dataset.json"
    if not path.is_file():
        raise UserError(_not_a_dataset(root))
    try:
        content = read_json(path)
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not readable JSON ({error}); prepare the dataset again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}; expected an object as scripts.prepare writes it")
    return content


def _not_a_dataset(root: Path) -> str:
    looked = root.resolve()
    if looked.is_dir():
        names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in looked.iterdir())
        found = f"it holds {', '.join(names[:5]) or 'nothing'}{' …' if len(names) > 5 else ''}"
    else:
        found = "there is a file of this name" if looked.exists() else "no such folder"
        inside = [path.name for path in looked.parent.glob("*/") if (path / "dataset.json").is_file()]
        if inside:
            found += f" (datasets beside it: {', '.join(sorted(inside)[:5])})"
    return (
        f"{looked}: not a dataset folder: looked for dataset.json, {found}; expected dataset.json, images/*.npy and "
        "labels/*.npy; make one with `python -m scripts.prepare folder IMAGES LABELS OUT --values …` (or qupath, see "
        "docs/data.md), or point dataset_dir at one"
    )


@cache
def _validator() -> Any:
    schema = json.loads(Path(__file__).with_name("dataset.schema.json").read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema)


def _check_schema(path: Path, content: dict[str, Any]) -> None:
    error = jsonschema.exceptions.best_match(_validator().iter_errors(content))
    if error is not None:
        where = "".join(f"[{key!r}]" for key in error.absolute_path) or "the top level"
        message = error.message if len(error.message) < 200 else error.message[:200] + " …"
        raise UserError(f"{path}: {where}: {message}; see docs/data.md for the format")


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
    """Two classes or more; none are needed where no image has a label map."""
    labelled = any(item["label"] is not None for section in SECTIONS for item in content.get(section, []))
    if len(labels) < 2 and (labels or labelled):
        raise UserError(f"{path}: names {len(labels)} class; expected two or more, the first for the background")
