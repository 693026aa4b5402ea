"""Summary of an import, for people and programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Summary:
    """What was written, or with `dry_run` would be.

    Attributes:
        sections: "training", "validation", "test" to images.
        pixel_percent: class name to its share of training pixels; empty if that was not looked at.
        notes: what a person should know, one line each.
        syntaxes: DICOM transfer syntax by name, to images read and images left out.
        rejected, private: these name source files: print the first, never store either.
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
    """(transfer syntax or None, whether it was read) of each image, as a table, most frequent first."""
    table: dict[str, list[int]] = {}
    for name, read in found:
        if name is not None:
            table.setdefault(name, [0, 0])[not read] += 1
    order = sorted(table, key=lambda name: (-sum(table[name]), name))
    return {name: (table[name][0], table[name][1]) for name in order}
