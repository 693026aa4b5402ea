"""Images of a data set as MONAI takes them: one dictionary per image, made on access."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, overload

from transforms.errors import UserError

Entries = Sequence[Mapping[str, Any]]


class Items(Sequence[dict[str, Any]]):
    """A sequence of new dictionaries, as in `Dataset.items`; a list of a hundred thousand would take 65 MB.

    Args:
        root: the dataset folder.
        entries: the images' entries in dataset.json.
    """

    def __init__(self, root: Path, entries: Entries) -> None:
        self.root, self.entries = root, entries
        self._prefix = os.path.join(root, "")

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> Items: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | Items:
        if isinstance(index, slice):
            return Items(self.root, self.entries[index])
        entry = self.entries[index]
        return {
            "image": self._prefix + entry["image"],
            "label": None if entry["label"] is None else self._prefix + entry["label"],
            "subject": entry["subject"],
            "case": case_of(entry["image"]),
            "laterality": entry.get("laterality"),
            "view": entry.get("view"),
            "spacing_mm": entry.get("spacing_mm"),
            "intensity_range": list(entry["intensity_range"]),
        }

    def paths(self, key: str) -> list[Any]:
        """Values of the dictionaries' key "image" or "label", without making the dictionaries."""
        return [None if entry[key] is None else self._prefix + entry[key] for entry in self.entries]

    def where(self, wanted: Callable[[Mapping[str, Any]], bool]) -> Items:
        """The items for whose entry `wanted` returns True."""
        return Items(self.root, [entry for entry in self.entries if wanted(entry)])


def paths_of(items: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    """Paths of the images or label maps ("image", "label") of items; None for an unlabeled image."""
    return items.paths(key) if isinstance(items, Items) else [item[key] for item in items]


def case_of(name: str) -> str:
    """Case name of an image: its file name without the ending, as `Path.stem`."""
    file = name.rpartition("/")[2]
    stem, dot, _ = file.rpartition(".")
    return stem if dot and stem.strip(".") and not file.endswith(".") else PurePosixPath(name).stem


def check_section(section: str, known: Sequence[str]) -> None:
    """Raise UserError if the section is unknown."""
    if section not in known:
        raise UserError(f"section is {section!r}; expected one of {', '.join(known)}")
