"""Images of a data set as MONAI takes them: a dictionary for each, made when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, overload

from transforms.errors import UserError

Entries = Sequence[Mapping[str, Any]]


class Items(Sequence[dict[str, Any]]):
    """A sequence of fresh dictionaries, as `Dataset.items` has them; of a hundred thousand images, a list takes 65 MB.

    Args:
        root: of the dataset folder.
        entries: of dataset.json.
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
        """What the dictionaries hold under "image" or "label", without making them."""
        return [None if entry[key] is None else self._prefix + entry[key] for entry in self.entries]

    def where(self, wanted: Callable[[Mapping[str, Any]], bool]) -> Items:
        """Those whose entry is wanted."""
        return Items(self.root, [entry for entry in self.entries if wanted(entry)])


def paths_of(items: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    """Paths of the images or label maps ("image", "label") of items; None where there is none."""
    return items.paths(key) if isinstance(items, Items) else [item[key] for item in items]


def case_of(name: str) -> str:
    """Name of an image's case: its file's name without the ending, as `Path.stem`."""
    file = name.rpartition("/")[2]
    stem, dot, _ = file.rpartition(".")
    return stem if dot and stem.strip(".") and not file.endswith(".") else PurePosixPath(name).stem


def check_section(section: str, known: Sequence[str]) -> None:
    """Raise UserError unless there is such a section."""
    if section not in known:
        raise UserError(f"section is {section!r}; expected one of {', '.join(known)}")
