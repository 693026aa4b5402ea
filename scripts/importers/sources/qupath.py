"""Import images that were annotated in QuPath: one GeoJSON file for each image.

Every pixel that no annotation covers is the first class. Where annotations overlap, a later class in `classes`
wins over an earlier one, whatever the order in the file - or, if all classes stand in Table 7 of the paper, the one
of higher rank there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scripts.importers.labels.classes import ClassTable
from scripts.importers.labels.merge import Mask, Tally, checked_smooth, superpose
from scripts.importers.labels.polygon_fill import Ring, fill
from scripts.importers.sources.qupath_geojson import read_annotations
from scripts.importers.writing.cases import Case, Label, checked_pattern, find_images, one_each, stem, subject_key
from scripts.importers.writing.writer import Summary, write_dataset
from transforms.errors import UserError
from transforms.reading.mammogram import read_mammogram


def import_qupath(
    images: Path,
    out: Path,
    *,
    classes: Sequence[str],
    merge: Mapping[str, str] | None = None,
    annotations: Path | None = None,
    precedence: Sequence[str] | None = None,
    unannotated: str = "error",
    smooth: float = 0.0,
    task: str = "anatomy",
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
        classes, merge, precedence, task: see `ClassTable.make`.
        unannotated: what an image without GeoJSON is: "error", "background" (all first class), or "skip".
        smooth: see `merge.Canvas`.
        subject: pattern, see `cases.subject_key`.
        windowing, bits: see `read_mammogram`.
        options: as of `write_dataset`.

    Raises:
        UserError: bad options, a missing or unreadable annotation file, or an unknown class.
    """
    images, out = Path(images), Path(out)
    table = ClassTable.make(list(classes), merge or {}, precedence, task)
    smooth = checked_smooth(smooth)
    if unannotated not in ("error", "background", "skip"):
        raise UserError(f"--unannotated is {unannotated!r}; expected background or skip")
    pattern, tally = checked_pattern(subject), Tally()
    cases = []
    files = find_images(images, [out] if annotations is None else [out, annotations])
    chosen = one_each({path: _annotation_file(path, images, annotations) for path in files})
    for path, found in chosen.items():
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
                read_label=partial(read_label, found, table, tally, smooth=smooth),
                tally=tally,
            )
        )
    summary = write_dataset(out, cases, name=name, labels=table.names, windowing=windowing, **options)
    tally.report(summary)
    if not precedence and table.order != tuple(range(len(table.names))):
        ranking = " over ".join(table.names[label] for label in reversed(table.order))
        summary.notes.append(f"all classes stand in Table 7 of the paper, so its ranking decided: {ranking}")
    return summary


def read_label(
    path: Path | None, table: ClassTable, tally: Tally, shape: tuple[int, int], smooth: float = 0.0
) -> Label:
    """Label map (rows, columns) uint8 of one annotation file; None is an image without annotations."""
    if path is None:
        return np.zeros(shape, np.uint8)
    content = read_annotations(path)
    table.ids(path, [name for name, _ in content.areas])
    tally.notes.update({f"features were skipped: {reason}": count for reason, count in content.skipped.items()})
    areas: dict[str, list[list[Ring]]] = {}
    for name, polygons in content.areas:
        areas.setdefault(name, []).extend(polygons)
    draws = {name: partial(_draw, polygons, tally) for name, polygons in areas.items()}
    return superpose(shape, draws, table, tally, smooth)


def _draw(polygons: Sequence[list[Ring]], tally: Tally, mask: Mask) -> None:
    for rings in polygons:
        if fill(mask, rings) == 0:
            tally.notes["polygons cover no pixel of their image"] += 1


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
