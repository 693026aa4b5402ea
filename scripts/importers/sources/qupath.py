"""Import images annotated in QuPath: one GeoJSON file per image.

Pixels outside all annotations are the first class. Where annotations overlap, the later class in `classes` wins,
regardless of the order in the file; if all classes are in Table 7 of the paper, the class of higher rank there wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from scripts.importers.import_options import DEFAULTS, ImportOptions
from scripts.importers.labels.classes import ClassTable
from scripts.importers.labels.foreign import what_it_is
from scripts.importers.labels.merge import Mask, Tally, checked_smooth, superpose
from scripts.importers.labels.polygon_fill import Ring, check_crossings, fill
from scripts.importers.sources.qupath_files import AnnotationFiles
from scripts.importers.sources.qupath_geojson import read_annotations
from scripts.importers.writing.cases import Case, Label, checked_pattern, find_images, subject_key
from scripts.importers.writing.writer import Summary, write_dataset
from transforms.errors import UserError
from transforms.plain_text import one_line
from transforms.reading.mammogram import read_mammogram
from transforms.reading.names import stem


def import_qupath(
    images: Path,
    out: Path,
    options: ImportOptions = DEFAULTS,
    *,
    classes: Sequence[str],
    merge: Mapping[str, str] | None = None,
    annotations: Path | None = None,
    precedence: Sequence[str] | None = None,
    unannotated: str = "error",
    smooth: float = 0.0,
    task: str = "anatomy",
) -> Summary:
    """Write a dataset folder from images and their QuPath annotations.

    Args:
        images: folder of DICOM files or pictures, with subfolders.
        annotations: folder of the IMAGE_STEM.geojson files, also compressed as .gz or .zip (searched in the same
            subfolder, then at its top); None: beside each image.
        classes, merge, precedence, task: see `ClassTable.make`.
        unannotated: treatment of an image without GeoJSON: "error", "background" (all first class), or "skip".
        smooth: see `merge.Canvas`.

    Raises:
        UserError: invalid options, a missing or unreadable annotation file, or an unknown class.
    """
    images, out = Path(images), Path(out)
    table = ClassTable.make(list(classes), merge or {}, precedence, task)
    smooth = checked_smooth(smooth)
    if unannotated not in ("error", "background", "skip"):
        raise UserError(f"--unannotated is {unannotated!r}; expected error, background or skip")
    pattern, tally = checked_pattern(options.subject), Tally()
    cases = []
    files = find_images(images, [out] if annotations is None else [out, annotations])
    known = AnnotationFiles(images, annotations)
    for path, found in known.of_all(files).items():
        if found is None:
            _without_annotations(path, known, unannotated, tally)
        if found is None and unannotated == "skip":
            continue
        cases.append(
            Case(
                source=path,
                subject=subject_key(path, images, pattern),
                read_image=partial(read_mammogram, path, options.windowing, options.bits),
                read_label=partial(read_label, found, table, tally, smooth=smooth),
                tally=tally,
            )
        )
    summary = write_dataset(out, cases, options, labels=table.names)
    tally.report(summary)
    if not precedence and table.order != tuple(range(len(table.names))):
        ranking = " over ".join(table.names[label] for label in reversed(table.order))
        summary.notes.append(f"all classes are in Table 7 of the paper, so its ranking was used: {ranking}")
    return summary


def _without_annotations(path: Path, known: AnnotationFiles, unannotated: str, tally: Tally) -> None:
    """Refuse an image without annotations, or count it; name a file in another format that may hold them."""
    other = known.other_form(path)
    found = f", found {one_line(other.name)}, {what_it_is(other) or 'which is not supported'}" if other else ""
    if unannotated == "error":
        raise UserError(
            f"{path}: no annotations; looked for {stem(path)}.geojson in {path.parent if known.beside else known.root}"
            f"{found}; export them from QuPath, or specify --unannotated background or skip"
        )
    done = "were skipped" if unannotated == "skip" else "became background"
    tally.notes[f"images without annotations {done}"] += 1
    if other is not None:
        tally.notes[f"file beside such an image is not read, and may hold its annotations: {one_line(other.name)}"] += 1


def read_label(
    path: Path | None, table: ClassTable, tally: Tally, shape: tuple[int, int], smooth: float = 0.0
) -> Label:
    """Return the label map (rows, columns) uint8 of one annotation file; None for an image without annotations."""
    if path is None:
        return np.zeros(shape, np.uint8)
    content = read_annotations(path, table.known)
    table.ids(path, [name for name, _ in content.areas])
    tally.notes.update({f"features were skipped: {reason}": count for reason, count in content.skipped.items()})
    if not content.areas:
        tally.notes["annotation files hold no area of a class: their images became background"] += 1
    check_crossings(path, (ring for _, polygons in content.areas for rings in polygons for ring in rings), shape[0])
    areas: dict[str, list[list[Ring]]] = {}
    for name, polygons in content.areas:
        areas.setdefault(name, []).extend(polygons)
    draws = {name: partial(_draw, polygons, tally) for name, polygons in areas.items()}
    return superpose(shape, draws, table, tally, smooth)


def _draw(polygons: Sequence[list[Ring]], tally: Tally, mask: Mask) -> None:
    for rings in polygons:
        if fill(mask, rings) == 0:
            tally.notes["polygons cover no pixel of their image"] += 1
