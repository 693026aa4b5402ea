"""Import images that were annotated in QuPath: one GeoJSON file for each image.

Every pixel that no annotation covers is the first class. Where annotations overlap, a later class in `classes`
wins over an earlier one, whatever the order in the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scripts.importers.cases import Case, Label, checked_pattern, find_images, stem, subject_key
from scripts.importers.geojson import Annotations, read_annotations
from scripts.importers.polygons import Ring, fill
from scripts.importers.writer import Summary, write_dataset
from transforms.errors import UserError
from transforms.mammogram import read_mammogram


@dataclass
class Tally:
    """What a person should know afterwards: remarks, and pixels for each pair of overlapping classes."""

    notes: Counter[str] = field(default_factory=Counter)
    overlaps: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class ClassTable:
    """Class names to ids and their precedence.

    Attributes:
        names: class names; the position is the class id.
        merge: annotation class to the class it becomes part of, with that class's precedence.
        order: class ids from the first painted to the last, which wins.
    """

    names: tuple[str, ...]
    merge: Mapping[str, str]
    order: tuple[int, ...]

    @classmethod
    def make(
        cls, names: Sequence[str], merge: Mapping[str, str], precedence: Sequence[str] | None = None
    ) -> ClassTable:
        """Check the names against each other.

        Args:
            precedence: class names from the one that wins over all others downwards; those left out follow in
                their usual order (the last of `names` wins).
        """
        if len(names) < 2 or len(set(names)) != len(names) or not all(names):
            raise UserError(
                f"--classes {','.join(names)!r}: expected two or more different names, the first of "
                "them for every pixel that is not annotated"
            )
        if len(names) > 255:
            raise UserError(f"--classes names {len(names)} classes; label maps hold at most 255")
        wrong = sorted({*merge.values(), *(precedence or ())} - set(names))
        if wrong:
            raise UserError(
                f"{', '.join(wrong)}: not among --classes {', '.join(names)}; correct --merge or --precedence"
            )
        both = sorted(set(merge) & set(names))
        if both:
            raise UserError(f"{', '.join(both)}: both a class and merged into another; leave it out of one")
        first = [names.index(name) for name in dict.fromkeys(precedence or ())]
        rest = [label for label in range(len(names)) if label not in first]
        return cls(tuple(names), dict(merge), (*rest, *reversed(first)))

    def ids(self, path: Path, found: Sequence[str]) -> dict[str, int]:
        """Id of each class name in a file; an error that lists what is not known."""
        known = {name: label for label, name in enumerate(self.names)}
        known |= {name: known[target] for name, target in self.merge.items()}
        unknown = sorted(set(found) - set(known))
        if unknown:
            raise UserError(
                f"{path}: holds the unknown class{'es' if len(unknown) > 1 else ''} {', '.join(unknown)}; known "
                f'are {", ".join(known)}; add to --classes, or to --merge as "{unknown[0]}={self.names[0]}"'
            )
        return known


def import_qupath(
    images: Path,
    out: Path,
    *,
    classes: Sequence[str],
    merge: Mapping[str, str] | None = None,
    annotations: Path | None = None,
    precedence: Sequence[str] | None = None,
    unannotated: str = "error",
    subject: str | None = None,
    windowing: str = "voi",
    bits: int | None = None,
    name: str | None = None,
    **options: Any,
) -> Summary:
    """Write a dataset folder from images and their QuPath annotations.

    Args:
        images: folder of DICOM files or pictures, with subfolders.
        annotations: where IMAGE_STEM.geojson is looked for (in the same subfolder, then at its top); None means
            beside each image.
        classes, merge, precedence: see `ClassTable.make`.
        unannotated: what an image without GeoJSON is: "error", "background" (all first class), or "skip".
        subject: pattern, see `cases.subject_key`.
        windowing, bits: see `read_mammogram`.
        options: as of `write_dataset`.

    Raises:
        UserError: bad options, a missing or unreadable annotation file, or an unknown class.
    """
    images, out = Path(images), Path(out)
    table = ClassTable.make(list(classes), merge or {}, precedence)
    if unannotated not in ("error", "background", "skip"):
        raise UserError(f"--unannotated is {unannotated!r}; expected background or skip")
    pattern, tally = checked_pattern(subject), Tally()
    cases = []
    for path in find_images(images, [out]):
        found = _annotation_file(path, images, annotations)
        if found is None and unannotated == "error":
            raise UserError(
                f"{path}: no annotations; looked for {stem(path)}.geojson in {annotations or path.parent}; export "
                "them from QuPath, or say --unannotated background or skip"
            )
        if found is None and unannotated == "skip":
            tally.notes["images without annotations were skipped"] += 1
            continue
        cases.append(
            Case(
                source=path,
                subject=subject_key(path, images, pattern),
                read_image=partial(read_mammogram, path, windowing, bits),
                read_label=partial(read_label, found, table, tally),
            )
        )
    summary = write_dataset(out, cases, name=name, labels=table.names, windowing=windowing, **options)
    summary.notes += [f"{count} {what}" for what, count in sorted(tally.notes.items())]
    summary.overlaps = dict(tally.overlaps.most_common())
    if summary.overlaps:
        pairs = ", ".join(f"{pair} ({count})" for pair, count in tally.overlaps.most_common(3))
        more = f" and {len(summary.overlaps) - 3} more pairs" if len(summary.overlaps) > 3 else ""
        summary.notes.append(f"pixels of two classes went to the one of higher precedence: {pairs}{more}")
    return summary


def read_label(path: Path | None, table: ClassTable, tally: Tally, shape: tuple[int, int]) -> Label:
    """Label map (rows, columns) uint8 of one annotation file; None is an image without annotations."""
    label = np.zeros(shape, np.uint8)
    if path is None:
        return label
    content = read_annotations(path)
    ids = table.ids(path, [name for name, _ in content.areas])
    tally.notes.update({f"features were skipped: {reason}": count for reason, count in content.skipped.items()})
    paint(label, content, ids, table, tally)
    return label


def paint(label: Label, content: Annotations, ids: Mapping[str, int], table: ClassTable, tally: Tally) -> None:
    """Paint all areas of a class together, class after class in order of precedence; count overlaps."""
    areas: dict[int, list[list[Ring]]] = {}
    for name, polygons in content.areas:
        areas.setdefault(ids[name], []).extend(polygons)
    done = np.zeros(label.shape, bool)
    for target in (label for label in table.order if label in areas):
        mask = np.zeros(label.shape, bool)
        for rings in areas[target]:
            if fill(mask, rings) == 0:
                tally.notes["polygons cover no pixel of their image"] += 1
        counts = np.bincount(label[mask & done], minlength=len(table.names))
        for other in np.flatnonzero(counts):
            tally.overlaps[f"{table.names[target]} over {table.names[other]}"] += int(counts[other])
        label[mask] = target
        done |= mask


def _annotation_file(path: Path, images: Path, annotations: Path | None) -> Path | None:
    if annotations is None:
        folders = [path.parent]
    else:
        if not annotations.is_dir():
            raise UserError(f"{annotations}: no such folder; --annotations names the folder of the GeoJSON files")
        folders = [annotations / path.parent.relative_to(images), annotations]
    for folder in folders:
        for name in (stem(path), path.name):
            for suffix in (".geojson", ".json"):
                if (folder / f"{name}{suffix}").is_file():
                    return folder / f"{name}{suffix}"
    return None
