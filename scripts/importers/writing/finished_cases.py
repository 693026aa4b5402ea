"""Files of a finished case: written atomically, and recognized by a later run of the same import."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.importers.writing.cases import Label
from transforms.atomic_write import atomic_file
from transforms.digests import array_sha256

_NEW = "new-"


@dataclass
class Record:
    """Properties of a case that was read, or the reason why it could not be. It names no source.

    Attributes:
        rejected: reason why the case could not be read, or None.
        item: entry in dataset.json, without subject and file names.
        size: (rows, columns) of the image.
        lowest, highest: smallest and largest pixel value.
        counts: pixels of each class, or None without a label.
        flip_remark: see `transforms.flip.must_flip`.
        syntax: DICOM transfer syntax.
        processing: see `Mammogram`.
        notes, overlaps: counts from reading the label.
        digests: name of each array's file to the SHA-256 of the array.
        reused: whether the case comes from an earlier run.
    """

    key: str
    rejected: str | None = None
    item: dict[str, Any] = field(default_factory=dict)
    size: tuple[int, int] = (0, 0)
    lowest: int = 0
    highest: int = 0
    counts: list[int] | None = None
    flip_remark: str | None = None
    syntax: str | None = None
    processing: bool | None = None
    notes: dict[str, int] = field(default_factory=dict)
    overlaps: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    reused: bool = False


def new_key() -> str:
    """Return a key that no other run finds."""
    return _NEW + uuid.uuid4().hex


@dataclass(frozen=True)
class Files:
    """Paths of a case: its arrays, and the record that marks them as complete."""

    image: Path
    label: Path
    rows: Path
    record: Path

    @classmethod
    def of(cls, folder: Path, key: str) -> Files:
        """Return the files of a key."""
        return cls(*(folder / f"{key}.{name}" for name in ("image.npy", "label.npy", "rows.npy", "json")))


def save_case(
    folder: Path, pixels: NDArray[Any], label: Label | None, rows: NDArray[np.uint32] | None, record: Record
) -> None:
    """Write each file atomically, and the record last, so that its existence implies the others.

    A case that no other run can find gets no record.
    """
    files = Files.of(folder, record.key)
    known = {files.image: record.item["image_sha256"], files.label: record.item["label_sha256"]}
    for path, array in ((files.image, pixels), (files.label, label), (files.rows, rows)):
        if array is not None:
            record.digests[path.name] = known.get(path) or array_sha256(array)
            _save_array(path, array)
    if not record.key.startswith(_NEW):
        with atomic_file(files.record) as part:
            part.write_text(json.dumps(asdict(record)), encoding="utf-8")


def _save_array(path: Path, array: NDArray[Any]) -> None:
    with atomic_file(path) as part, part.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def find_case(folder: Path, key: str, verify: bool = True) -> Record | None:
    """Return the record of an earlier run under this key if it is complete: the arrays must match the record.

    Args:
        verify: read the arrays; else only their headers, which show whether files exist and have their full length.
    """
    try:
        record = Record(**json.loads(Files.of(folder, key).record.read_text(encoding="utf-8")))
        for name, digest in record.digests.items():
            array = np.load(folder / name, mmap_mode=None if verify else "r", allow_pickle=False)
            if verify and array_sha256(array) != digest:
                return None
    except Exception:  # missing or truncated files, on which JSON and NumPy raise many kinds
        return None
    record.size = (record.size[0], record.size[1])
    record.reused = True
    return record
