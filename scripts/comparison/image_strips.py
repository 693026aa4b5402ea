"""The same images segmented by every model, side by side (Figure 8)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scripts.comparison.store import Store
from scripts.comparison.table import Comparison
from scripts.comparison.worst_table import case_order, case_remarks, failures
from transforms.palette import VOID_COLOUR, class_colours, colour

GAP, LINE = 4, 18


@dataclass(frozen=True)
class Case:
    """One image: heading → RGB picture, for image, truth and every model that stored one.

    `remarks` describe the errors, per row.
    """

    name: str
    pictures: Mapping[str, Image.Image]
    remarks: tuple[str, ...] = ()


def cases(store: Store, comparison: Comparison, folder: Path, limit: int) -> list[Case]:
    """Return the first `limit` images with a stored truth and prediction; `folder` is for downloads.

    Images that every row stored come first; both groups are sorted from worst to best.
    """
    results = [(row.title, row.result) for row in comparison.rows if row.result is not None]
    found: dict[str, dict[str, Path]] = {title: store.pictures(r, r.stage, folder) for title, r in results}
    sources: dict[str, dict[str, Path]] = {"image": {}, "truth": {}}
    for _, result in results:
        for kind, known in sources.items():
            for case, path in store.pictures(result, kind, folder).items():
                known.setdefault(case, path)
    shared = [case for case in sources["truth"] if any(case in files for files in found.values())]
    columns, wrong = {**sources, **found}, failures(comparison)
    order = case_order(wrong)
    lacks = {case: sum(case not in files for files in found.values()) for case in shared}
    worst = sorted(shared, key=lambda case: (lacks[case] > 0, order.get(case, (math.inf,)), case))
    return [
        Case(
            case,
            {head: _rgb(files[case], comparison.classes) for head, files in columns.items() if case in files},
            tuple(case_remarks(wrong, case)),
        )
        for case in worst[:limit]
    ]


def _rgb(path: Path, class_names: Sequence[str]) -> Image.Image:
    """Read a picture as RGB; the class numbers of a label map become class colors."""
    with Image.open(path, formats=["PNG"]) as picture:
        if picture.mode == "P":
            return Image.fromarray(colour(np.asarray(picture), class_names))
        return picture.convert("RGB")


def legend(many: Sequence[Case], class_names: Sequence[str]) -> list[tuple[str, tuple[int, int, int]]]:
    """Return classes and their colors, followed by void if it occurs in a true label."""
    truths = (np.asarray(case.pictures["truth"]) for case in many if "truth" in case.pictures)
    void = any((truth == VOID_COLOUR).all(-1).any() for truth in truths)
    found = list(zip(class_names, class_colours(class_names), strict=True))
    return [*found, *([("void", VOID_COLOUR)] if void else [])]


def sheet(many: Sequence[Case], class_names: Sequence[str]) -> Image.Image:
    """One picture: a row for each case, a column for each model, and the colors of the classes below."""
    heads = list(dict.fromkeys(head for case in many for head in case.pictures))
    font = ImageFont.load_default(12)
    width = max(80, *(picture.width for case in many for picture in case.pictures.values()))
    heights = [max(picture.height for picture in case.pictures.values()) for case in many]
    key = _legend(legend(many, class_names), font, len(heads) * (width + GAP))
    size = (len(heads) * (width + GAP) + GAP, 2 * LINE + GAP + sum(h + LINE + GAP for h in heights) + key.height)
    canvas = Image.new("RGB", size, (24, 24, 24))
    draw = ImageDraw.Draw(canvas)
    for column, head in enumerate(heads):
        for line, words in enumerate(_two_lines(head)):
            draw.text((GAP + column * (width + GAP), line * 14 + 2), words, font=font, fill=(255, 255, 255))
    y = 2 * LINE
    for case, height in zip(many, heights, strict=True):
        draw.text((GAP, y), case.name, font=font, fill=(190, 190, 190))
        y += LINE
        for column, head in enumerate(heads):
            if head in case.pictures:
                canvas.paste(case.pictures[head], (GAP + column * (width + GAP), y))
        y += height + GAP
    canvas.paste(key, (GAP, y))
    return canvas


def _two_lines(head: str) -> list[str]:
    """Split a model's name into two lines: Dilation10 / Global."""
    return head.split(" ", 1)


def _legend(
    entries: Sequence[tuple[str, tuple[int, int, int]]],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    width: int,
) -> Image.Image:
    positions, x, y = [], 0, 0
    for name, _ in entries:
        needed = 30 + int(font.getlength(name))
        if x and x + needed > width:
            x, y = 0, y + LINE
        positions.append((x, y))
        x += needed
    picture = Image.new("RGB", (max(1, width), y + LINE + GAP), (24, 24, 24))
    draw = ImageDraw.Draw(picture)
    for (name, fill), (x, y) in zip(entries, positions, strict=True):
        draw.rectangle((x, y + 3, x + 11, y + 14), fill=fill, outline=(180, 180, 180))
        draw.text((x + 16, y + 1), name, font=font, fill=(230, 230, 230))
    return picture


def css(colour: tuple[int, int, int]) -> str:
    """Format a color for CSS."""
    return "#" + bytes(colour).hex()
