"""Import images annotated in the VGG Image Annotator (VIA) 1 or 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.importers.import_options import DEFAULTS, ImportOptions
from scripts.importers.labels.classes import ClassTable
from scripts.importers.labels.merge import Tally
from scripts.importers.labels.point_radius import POINT_RADIUS
from scripts.importers.sources.listed_images import ListedImage, annotation_files, import_listed
from scripts.importers.sources.via_file import chosen_attribute, class_of, read_via
from scripts.importers.writing.writer import Summary

REMARKS = {
    "polyline": "lines were closed, and taken as outlines",
    "point": f"points were drawn as disks of radius {POINT_RADIUS:g} pixels",
}
"""Treatment of shapes that are not areas."""


def import_via(
    images: Path,
    annotations: Path,
    out: Path,
    options: ImportOptions = DEFAULTS,
    *,
    classes: Sequence[str],
    attribute: str | None = None,
    merge: Mapping[str, str] | None = None,
    precedence: Sequence[str] | None = None,
    unannotated: str = "error",
    smooth: float = 0.0,
    task: str = "anatomy",
) -> Summary:
    """Write a dataset folder from images and VIA's annotations.

    Args:
        annotations: a project or an export (JSON, CSV), also compressed as .gz or .zip, or a folder of such files.
        attribute: the region attribute that holds the class; None: the only one.
        classes, merge, precedence, task: see `ClassTable.make`; regions without a class are "unclassified", which
            `merge` may name.
        unannotated, smooth: see `import_listed`.

    Raises:
        UserError: invalid options, a damaged file, or as in `import_listed`.
    """
    table, tally = ClassTable.make(list(classes), merge or {}, precedence, task), Tally()
    found = [image for path in annotation_files(Path(annotations), [".json", ".csv"]) for image in read_via(path)]
    attribute = chosen_attribute(found, attribute)
    tally.notes.update(REMARKS[one.shape] for image in found for one in image.regions if one.shape in REMARKS)
    listed = [
        ListedImage(
            image.source,
            image.name,
            tuple((class_of(image, region, attribute), region.outline) for region in image.regions),
            file_bytes=image.file_bytes,
        )
        for image in found
    ]
    return import_listed(Path(images), Path(out), options, listed, table, tally, unannotated=unannotated, smooth=smooth)
