"""The pictures of the scored subjects, worst cases first: a page beside the tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from engines.records.output_folder import Output
from engines.records.tables import write_text
from engines.scoring.matching import FALSE, ImageLesions

FILE = "worst.html"


def worst_first(images: Sequence[ImageLesions]) -> list[tuple[str, list[ImageLesions]]]:
    """Subjects and their images: those with most missed lesions first, then most false positives, then lowest Dice."""
    subjects: dict[str, list[ImageLesions]] = {}
    for image in images:
        subjects.setdefault(image.subject, []).append(image)
    return sorted(subjects.items(), key=lambda pair: (*_badness(pair[1]), pair[0]))


def write_worst_cases(output: Output, images: Sequence[ImageLesions]) -> Path:
    """Write worst.html, which shows panels/<subject>.png of every subject in the order of `worst_first`."""
    parts = [
        "<!doctype html><meta charset=utf-8><title>Worst cases first</title>",
        "<style>body{background:#181818;color:#ddd;font:14px sans-serif}img{max-width:100%}</style>",
        "<h1>Worst cases first</h1><p>Missed lesions, then false positives, then Dice. In each row of pictures: image, "
        "truth, prediction, difference. Research software, not for clinical use.</p>",
    ]
    for subject, mine in worst_first(images):
        lines = "<br>".join(escape(_line(image)) for image in mine)
        name = escape(f"{output.panels.name}/{subject}.png", quote=True)
        parts.append(f'<h2>{escape(subject)}</h2><p>{lines}</p><img loading="lazy" alt="" src="{name}">')
    path = output.eval / FILE
    write_text(path, "\n".join(parts) + "\n")
    return path


def _badness(images: Sequence[ImageLesions]) -> tuple[int, int, float]:
    dice = [image.dice for image in images if image.dice is not None]
    missed = sum(_missed(image) for image in images)
    return -missed, -sum(_false(image) for image in images), sum(dice) / len(dice) if dice else math.inf


def _missed(image: ImageLesions) -> int:
    return sum(lesion.score is None or lesion.score < image.min_score for lesion in image.counted)


def _false(image: ImageLesions) -> int:
    return sum(c.outcome == FALSE and c.score >= image.min_score for c in image.candidates)


def _line(image: ImageLesions) -> str:
    dice = "no lesion" if image.dice is None else f"Dice {image.dice:.3f}"
    return f"{image.case}: {_missed(image)} of {len(image.counted)} lesions missed, {_false(image)} false, {dice}"
