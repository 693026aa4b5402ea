"""The commands `via` and `coco`: one annotation file for many images."""

from __future__ import annotations

from typing import Annotated

import typer

from scripts.importers.arguments import parse_names, parse_pairs
from scripts.importers.import_options import ImportOptions
from scripts.importers.label_options import Annotations, Classes, Merge, PrecedenceOfClasses, Smooth, Task, Unlisted
from scripts.importers.shared_options import Images, Out, with_shared_options
from scripts.importers.writing.import_summary import Summary


@with_shared_options
def via(
    images: Images,
    annotations: Annotations,
    out: Out,
    classes: Classes,
    attribute: Annotated[
        str | None, typer.Option(help="Region attribute that holds the class. Default: the only one.")
    ] = None,
    merge: Merge = "",
    precedence: PrecedenceOfClasses = "",
    unannotated: Unlisted = "error",
    smooth: Smooth = 0.0,
    task: Task = "anatomy",
    *,
    common: ImportOptions,
) -> Summary:
    """Images annotated in the VGG Image Annotator (VIA 2): a project, or an export as JSON or CSV."""
    from scripts.importers.sources.via import import_via

    return import_via(
        images,
        annotations,
        out,
        common,
        classes=parse_names(classes),
        attribute=attribute,
        merge=parse_pairs(merge, "--merge"),
        precedence=parse_names(precedence),
        unannotated=unannotated,
        smooth=smooth,
        task=task,
    )


@with_shared_options
def coco(
    images: Images,
    annotations: Annotations,
    out: Out,
    classes: Annotated[
        str, typer.Option(help="Class names, the first for the rest of the image. Default: background and categories.")
    ] = "",
    merge: Merge = "",
    precedence: PrecedenceOfClasses = "",
    crowd: Annotated[str, typer.Option(help="Groups of objects (iscrowd): class, like others; or ignore.")] = "class",
    unannotated: Unlisted = "error",
    smooth: Smooth = 0.0,
    task: Task = "anatomy",
    *,
    common: ImportOptions,
) -> Summary:
    """Images annotated in COCO instances JSON (polygons, run-length encoded masks): CVAT, Label Studio, Roboflow, …"""
    from scripts.importers.sources.coco import import_coco

    return import_coco(
        images,
        annotations,
        out,
        common,
        classes=parse_names(classes),
        merge=parse_pairs(merge, "--merge"),
        precedence=parse_names(precedence),
        crowd=crowd,
        unannotated=unannotated,
        smooth=smooth,
        task=task,
    )
