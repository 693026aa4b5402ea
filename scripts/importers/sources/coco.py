"""Import images annotated in COCO instances JSON, an export format of CVAT, Label Studio, Roboflow and other tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.importers.import_options import DEFAULTS, ImportOptions
from scripts.importers.labels.classes import ClassTable
from scripts.importers.labels.merge import Tally
from scripts.importers.sources.coco_file import read_coco
from scripts.importers.sources.listed_images import annotation_files, import_listed
from scripts.importers.writing.writer import Summary
from transforms.errors import UserError

BACKGROUND = "background"
CROWDS = ("class", "ignore")


def import_coco(
    images: Path,
    annotations: Path,
    out: Path,
    options: ImportOptions = DEFAULTS,
    *,
    classes: Sequence[str] = (),
    merge: Mapping[str, str] | None = None,
    precedence: Sequence[str] | None = None,
    crowd: str = "class",
    unannotated: str = "error",
    smooth: float = 0.0,
    task: str = "anatomy",
) -> Summary:
    """Write a dataset folder from images and COCO files.

    Args:
        annotations: one file, also compressed as .gz or .zip, or a folder of such files.
        classes: class names, the first for every pixel without annotation; empty: background and all categories that
            are not merged, in the order of their ids.
        merge, precedence, task: see `ClassTable.make`.
        crowd: treatment of groups of objects (`iscrowd`): "class", like any other annotation, or "ignore".
        unannotated, smooth: see `import_listed`.

    Raises:
        UserError: invalid options, a damaged file, or as in `import_listed`.
    """
    if crowd not in CROWDS:
        raise UserError(f"--crowd is {crowd!r}; expected {' or '.join(CROWDS)}")
    files = [read_coco(path, crowd) for path in annotation_files(Path(annotations), [".json"])]
    merge, tally = dict(merge or {}), Tally()
    for file in files:
        tally.notes.update(file.skipped)
    names = list(classes) or usual_classes([name for file in files for name in file.categories], merge)
    table = ClassTable.make(names, merge, precedence, task)
    listed = [image for file in files for image in file.images]
    return import_listed(Path(images), Path(out), options, listed, table, tally, unannotated=unannotated, smooth=smooth)


def usual_classes(categories: Sequence[str], merge: Mapping[str, str]) -> list[str]:
    """Return the default classes: the category called background, or else a new class; then the other categories."""
    first = next((name for name in categories if name.lower().strip("_") == BACKGROUND), BACKGROUND)
    return list(dict.fromkeys([first, *(name for name in categories if name not in merge)]))
