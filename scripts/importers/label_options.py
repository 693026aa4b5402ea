"""Options of several formats for the classes of a label map and their merging."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Annotations = Annotated[
    Path, typer.Argument(metavar="ANNOTATIONS", help="Annotation file or folder of files; also .gz or .zip.")
]
Classes = Annotated[str, typer.Option(help='Class names, "background,gland,tumor"; in overlaps, the last wins.')]
Merge = Annotated[str, typer.Option(help='Classes to merge into others: "skin=mammary gland,text=background".')]
Precedence = Annotated[str, typer.Option(help="Classes that win in overlaps, the highest first.")]
PrecedenceOfClasses = Annotated[
    str, typer.Option(help="Classes that win in overlaps, the highest first. Default: --classes from last to first.")
]
Smooth = Annotated[
    float,
    typer.Option(help="Gaussian for the outlines, in pixels; not for calcifications, text, nipple and lymph nodes."),
]
Task = Annotated[
    str, typer.Option(help="anatomy: all classes. tumor: classes named tumor, cancer, mass or lesion, and background.")
]
Unlisted = Annotated[str, typer.Option(help="Images without annotations: error, background, or skip.")]
