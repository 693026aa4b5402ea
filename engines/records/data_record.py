"""Record of the training data: a digest of every image and label, and its entry in dataset.json.

A resumed training must have the same data. Reading all files again takes as long as an epoch, so only those whose size
or modification time differ are read; an edit that keeps both is detected only by `--verify true`. Files that earlier
starts of this user read are trusted likewise, by stricter criteria: see `transforms.known_files`.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engines.base.world import is_main
from transforms.atomic_write import atomic_file
from transforms.dataset import Dataset, case_of
from transforms.dataset_check import check_digest, copies_apart
from transforms.errors import UserError
from transforms.known_files import CHUNK, DIGEST

logger = logging.getLogger("mammoseg")

FILE = "data.json"
SECTIONS = ("training", "validation")
NAMED = 3
"""Maximum number of differences that are named; the others are counted."""

Files = dict[str, list[Any]]
"""Path in the dataset folder → [size, modification time in ns, SHA-256 of the array]."""


def record_of(data: Dataset, known: Files | None = None, again: bool = False) -> dict[str, Any]:
    """Read the images and labels that a training uses, unless they are known from an earlier start.

    Args:
        data: the data set.
        known: files that need not be read again if size and modification time are the same.
        again: read all files.

    Raises:
        UserError: a file cannot be read, or is not the one that was imported.
    """
    items = [item for section in SECTIONS for item in data.content.get(section, [])]
    wanted = {item[key]: item.get(f"{key}_sha256") for item in items for key in ("image", "label") if item[key]}
    files = _files(data, wanted, known or {}, again)
    sections = [(section, item) for section in SECTIONS for item in data.content.get(section, [])]
    if copies_apart((section, item["image"], files[item["image"]][2]) for section, item in sections):
        apart = copies_apart((s, case_of(item["image"]), files[item["image"]][2]) for s, item in sections)
        raise UserError(f"{data.root}: {apart}; prepare the dataset again without the copies")
    return {
        "files": files,
        "images": {
            item["image"]: {
                "label": item["label"],
                "subject": item["subject"],
                "intensity_range": item["intensity_range"],
                "section": section,
            }
            for section, item in sections
        },
        "labels": data.class_names,
        "ignore_label": data.ignore_label,
        "pixel_fraction": dict(data.pixel_fraction),
    }


def _files(data: Dataset, wanted: Mapping[str, str | None], known: Files, again: bool) -> Files:
    """Return the record of each file; unknown files are read.

    Args:
        wanted: name → SHA-256 recorded at import.
    """
    found: Files = {name: [] for name in wanted}
    names, files = list(wanted), data.files
    with files.reading(len(names), "reading images and labels") as done:
        for first in range(0, len(names), CHUNK):
            part = names[first : first + CHUNK]
            others = part
            if known and not again:
                times = files.size_and_time(files.look(part, 0))
                same = {n for n, t in zip(part, times, strict=True) if n in known and t == known[n][:2]}
                found.update((name, list(known[name])) for name in same)
                others = [name for name in part if name not in same]
            rows = files.look(others, DIGEST, again=again)
            for name, time, digest in zip(others, files.size_and_time(rows), files.digests(rows), strict=True):
                imported = wanted[name]
                if digest != imported:
                    check_digest(data.root / name, digest, imported)
                found[name] = [*time, digest if imported is None else imported]  # the existing object
            done(len(part))
    return found


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return one phrase per difference between two records."""
    found = []
    for key in ("labels", "ignore_label"):
        if before.get(key) != after[key]:
            found.append(f"{key}: {before.get(key)} → {after[key]}")
    fractions = before.get("pixel_fraction", {})
    found += [
        f"pixel_fraction of {name}: {fractions.get(name)} → {value}"
        for name, value in after["pixel_fraction"].items()
        if fractions.get(name) != value
    ]
    images = before.get("images", {})
    found += [f"{name}: missing now" for name in images if name not in after["images"]]
    for name, item in after["images"].items():
        if name not in images:
            found.append(f"{name}: new")
            continue
        found += [
            f"{key} of {name}: {images[name].get(key)} → {v}" for key, v in item.items() if images[name].get(key) != v
        ]
    files = before.get("files", {})
    found += [f"{n}: other content" for n, entry in after["files"].items() if n in files and files[n][2] != entry[2]]
    return found


class DataGuard:
    """Check that a resumed training has the data of the interrupted one.

    Args:
        data: the data set.
        models: folder of data.json.
        verify: read all files again, even known ones.

    Attributes:
        digest: digest of the record; kept in the training's saved state.
    """

    def __init__(self, data: Dataset, models: Path, verify: bool = False) -> None:
        self.data, self.path, self.verify = data, models / FILE, verify
        self.digest: str | None = None
        self._record: dict[str, Any] = {}

    def begin(self) -> None:
        """Read the data; nothing is written yet.

        Raises:
            UserError: a file cannot be read, is not the one that was imported, or is in two sections.
        """
        self._set(record_of(self.data, again=self.verify))

    def resume(self, digest: str | None) -> None:
        """Compare the data with those of the interrupted training.

        Args:
            digest: from the saved state; None if an older version saved it.

        Raises:
            UserError: something differs; names the differences.
        """
        before = _read(self.path)
        known = before is not None and digest_of(before) == digest
        self._set(record_of(self.data, before["files"] if before and known else None, self.verify))
        if digest is None:
            logger.warning("An older version began this training: whether its data have changed is unknown.")
        elif digest != self.digest:
            found = differences(before, self._record) if before and known else [f"{self.path.name} is damaged, too"]
            more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
            raise UserError(
                f"{self.data.root}: differs from the data of the interrupted training ({'; '.join(found[:NAMED])}"
                f"{more}); restore them, or train again without --resume"
            )

    def write(self) -> None:
        """Write data.json."""
        if is_main():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(self.path) as part, part.open("w", encoding="utf-8", newline="") as file:
                file.writelines(in_parts(self._record, ensure_ascii=False))
                file.write("\n")

    def _set(self, record: dict[str, Any]) -> None:
        self._record, self.digest = record, digest_of(record)


def digest_of(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all that a training learns from, without the files' times."""
    files = {name: entry[2] for name, entry in record["files"].items()}
    digest = hashlib.sha256()
    for part in in_parts({**record, "files": files}, sort_keys=True, ensure_ascii=True):
        digest.update(part.encode())
    return digest.hexdigest()


def in_parts(content: Mapping[str, Any], sort_keys: bool = False, **how: Any) -> Iterator[str]:
    """Yield the text of `json.dumps` in parts, nested objects also split: for many images the whole takes 50 MB."""
    for number, key in enumerate(sorted(content) if sort_keys else content):
        yield f"{', ' if number else '{'}{json.dumps(key, **how)}: "
        value = content[key]
        if not isinstance(value, dict) or not value:
            yield json.dumps(value, sort_keys=sort_keys, **how)
            continue
        names = sorted(value) if sort_keys else list(value)
        for first in range(0, len(names), CHUNK):
            part = {name: value[name] for name in names[first : first + CHUNK]}
            yield ("{" if first == 0 else ", ") + json.dumps(part, sort_keys=sort_keys, **how)[1:-1]
        yield "}"
    yield "}" if content else "{}"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        good = all(isinstance(record[key], dict) for key in ("files", "images", "pixel_fraction"))
        good = good and all(isinstance(entry, list) and len(entry) == 3 for entry in record["files"].values())
        return record if good and all(isinstance(image, dict) for image in record["images"].values()) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
