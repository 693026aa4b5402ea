"""HTML page with the pictures of the scored subjects, worst cases first, with reasons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from engines.records.tables import write_text
from engines.scoring.matching import FALSE, ImageLesions

if TYPE_CHECKING:
    from engines.records.output_folder import Output

FILE = "worst.html"

GOOD = 0.7
"""Dice from which on the faults of a mask are not named."""

Badness = tuple[int, int, float]
"""Sort key: missed lesions, then false positives, then Dice."""

STYLE = (
    "body{background:#181818;color:#ddd;font:14px sans-serif}img{max-width:100%}a{color:#9cf}"
    "table{border-collapse:collapse}td,th{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #444}"
    "td:first-child,td:nth-child(2),th:first-child,th:nth-child(2){text-align:left}th{cursor:pointer}"
)
SCRIPT = """
document.querySelectorAll("th").forEach(head => head.addEventListener("click", () => {
  const body = head.closest("table").tBodies[0], at = head.cellIndex, up = head.dataset.up !== "1";
  head.dataset.up = up ? "1" : "0";
  const key = row => row.cells[at].textContent, plain = text => text === "" ? NaN : Number(text);
  body.append(...[...body.rows].sort((a, b) => {
    const [x, y] = [plain(key(a)), plain(key(b))];
    return (up ? 1 : -1) * (isNaN(x) || isNaN(y) ? key(a).localeCompare(key(b)) : x - y);
  }));
}));
"""


def missed(image: ImageLesions) -> int:
    """Return the number of lesions that no kept candidate found."""
    return sum(lesion.score is None or lesion.score < image.min_score for lesion in image.counted)


def false_positives(image: ImageLesions) -> int:
    """Return the number of kept false positives."""
    return sum(c.outcome == FALSE and c.score >= image.min_score for c in image.candidates)


def badness(images: Sequence[ImageLesions]) -> Badness:
    """Return the sort key of images, worst first."""
    dice = [image.dice for image in images if image.dice is not None]
    lost = sum(map(missed, images))
    return -lost, -sum(map(false_positives, images)), sum(dice) / len(dice) if dice else math.inf


def reason(image: ImageLesions) -> str:
    """Return the faults: missed, false, leaked (half or more of the mask is no lesion), cut short (half or more of the
    lesions is not in the mask); empty if there are none.
    """
    leaked = image.shared > 0 and 2 * (image.predicted - image.shared) >= image.predicted
    short = image.shared > 0 and 2 * (image.truth - image.shared) >= image.truth
    poor = image.dice is not None and image.dice < GOOD
    found = {
        "missed": missed(image) > 0 or bool(image.truth and not image.shared),
        "false": false_positives(image) > 0,
        "leaked": poor and leaked,
        "cut short": poor and short,
    }
    return ", ".join(name for name, is_so in found.items() if is_so)


def worst_first(images: Sequence[ImageLesions]) -> list[tuple[str, list[ImageLesions]]]:
    """Return subjects with their images by most missed lesions, then most false positives, then lowest Dice."""
    subjects: dict[str, list[ImageLesions]] = {}
    for image in images:
        subjects.setdefault(image.subject, []).append(image)
    return sorted(subjects.items(), key=lambda pair: (*badness(pair[1]), pair[0]))


def write_worst_cases(output: Output, images: Sequence[ImageLesions]) -> Path:
    """Write worst.html: a sortable table of the images, and panels/<subject>.png in the order of `worst_first`, each a
    link to its full size.
    """
    order = worst_first(images)
    parts = [
        "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Worst cases first</title><style>{STYLE}</style>",
        "<h1>Worst cases first</h1><p>Missed lesions, then false positives, then Dice. In each row of pictures: image, "
        "truth, prediction, difference; a click shows them at full size, one on a heading of the table sorts by it. "
        "Research software, not for clinical use.</p>",
        "<table><thead><tr><th>Image<th>Reason<th>Lesions<th>Missed<th>False<th>Dice</thead><tbody>",
        *(_row(image) for _, mine in order for image in sorted(mine, key=lambda image: badness([image]))),
        "</tbody></table>",
    ]
    for subject, mine in order:
        lines = "<br>".join(escape(_line(image)) for image in mine)
        name, anchor = escape(f"{output.panels.name}/{subject}.png", quote=True), escape(subject, quote=True)
        picture = f'<a href="{name}"><img loading="lazy" alt="{anchor}" src="{name}"></a>'
        parts.append(f'<h2 id="{anchor}">{escape(subject)}</h2><p>{lines}</p>{picture}')
    path = output.eval / FILE
    write_text(path, "\n".join([*parts, f"<script>{SCRIPT}</script>"]) + "\n")
    return path


def _row(image: ImageLesions) -> str:
    link = f'<a href="#{escape(image.subject, quote=True)}">{escape(image.case)}</a>'
    dice = "" if image.dice is None else f"{image.dice:.3f}"
    cells = (link, escape(reason(image)), len(image.counted), missed(image), false_positives(image), dice)
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _line(image: ImageLesions) -> str:
    dice = "no lesion" if image.dice is None else f"Dice {image.dice:.3f}"
    why = reason(image)
    lost = f"{missed(image)} of {len(image.counted)} lesions missed, {false_positives(image)} false, {dice}"
    return f"{image.case}: {lost}" + (f" ({why})" if why else "")
