"""Summary of an import, for users and programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Summary:
    """Summary of the written dataset, or with `dry_run` of the planned one.

    Attributes:
        sections: "training", "validation", "test" to number of images.
        pixel_percent: class name to its share of training pixels; empty if not counted.
        notes: notes for the user, one line each.
        syntaxes: name of a DICOM transfer syntax to numbers of images read and left out.
        rejected, private: lists that name source files: print the first, never store either.
    """

    out: Path
    name: str
    images: int
    subjects: int
    sections: dict[str, int]
    labels: list[str]
    pixel_percent: dict[str, float]
    notes: list[str] = field(default_factory=list)
    overlaps: dict[str, int] = field(default_factory=dict)
    syntaxes: dict[str, tuple[int, int]] = field(default_factory=dict)
    rejected: list[tuple[Path, str]] = field(default_factory=list)
    private: list[tuple[str, str, Path]] = field(default_factory=list, repr=False)
    dry_run: bool = False


def counted_syntaxes(found: Iterable[tuple[str | None, bool]]) -> dict[str, tuple[int, int]]:
    """Count (transfer syntax or None, whether read) of each image: (read, left out) by syntax, most frequent first."""
    table: dict[str, list[int]] = {}
    for name, read in found:
        if name is not None:
            table.setdefault(name, [0, 0])[not read] += 1
    order = sorted(table, key=lambda name: (-sum(table[name]), name))
    return {name: (table[name][0], table[name][1]) for name in order}
