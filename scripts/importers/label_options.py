"""Options of several formats that say which classes a label map has and how they are merged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Annotations = Annotated[
    Path, typer.Argument(metavar="ANNOTATIONS", help="Annotation file, or a folder of such; also .gz or .zip.")
]
Classes = Annotated[str, typer.Option(help='Class names, "background,gland,tumor"; the last wins where they overlap.')]
Merge = Annotated[str, typer.Option(help='Classes to merge into others: "skin=mammary gland,text=background".')]
Precedence = Annotated[str, typer.Option(help="Classes that win where they overlap, the highest first.")]
PrecedenceOfClasses = Annotated[
    str, typer.Option(help="Class that wins over all others first. Default: --classes from the last on.")
]
Smooth = Annotated[
    float,
    typer.Option(help="Gaussian for the outlines, in pixels; not of calcifications, text, nipple and lymph nodes."),
]
Task = Annotated[
    str, typer.Option(help="anatomy: all classes. tumor: classes named tumor, cancer, mass or lesion, and background.")
]
Unlisted = Annotated[str, typer.Option(help="Images that are not annotated: error, background, or skip.")]
