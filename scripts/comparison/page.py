"""Self-contained HTML page of a comparison, for screens of any width, light or dark."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Collection, Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from engines.records.score_table import TITLES
from scripts.comparison.image_strips import Case, css, legend
from scripts.comparison.table import (
    LESION_HEADING,
    OPTIONS,
    Comparison,
    cells,
    footnotes,
    more_tables,
    option_rows,
    p_text,
)
from scripts.comparison.viewer import FULL_SIZE, SCRIPT, VIEWER_STYLE, page_tools, viewer
from scripts.comparison.worst_table import HEADING as WORST
from scripts.comparison.worst_table import SHOWN, failure_table, failures

NUMBER = re.compile(r"[<>+−-]?\s*\d|n/a|too few")
"""Beginning of a cell in a column of numbers."""
LEFT = ' class="words"'

EMBEDDED, LARGEST, FOLDER = 20, 18_000_000, "images"
"""Largest number of images, and of characters of their pictures, embedded in a page; else they are in a folder."""

TALL = 24
"""Number of lines above which a table scrolls in a part of the window; in print, all lines are shown."""

WORST_NOTE = (
    f"The worst {SHOWN} of each model; worst.csv has all. Missed: a lesion found by no candidate. False: a "
    "candidate without a lesion. Leaked: at least half of the mask is outside. Cut short: at least half of the "
    "lesions is not in the mask."
)

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --best: #0072b233; }
body { background: Canvas; color: CanvasText; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; } h3 { font-size: 1rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: Canvas; }
td.words, th.words { text-align: left; }
td.best { background: var(--best); font-weight: 600; }
td small { font-weight: 400; display: block; }
tr.trivial { font-style: italic; }
ul { padding-left: 1.2rem; } li { margin: .2rem 0; }
img.chart { width: 100%; min-width: 36rem; max-width: 60rem; background: #fff; border-radius: .5rem; }
.case { display: flex; flex-wrap: wrap; gap: .6rem; margin: 0 0 1.4rem; }
.case figure { margin: 0; width: 9rem; } 
.case img { width: 100%; height: auto; image-rendering: pixelated; border-radius: .25rem; }
.case figcaption { font-size: .85rem; }
.remarks { font-size: .85rem; margin: 0 0 .4rem; } .case-group > p { margin: 1rem 0 .2rem; font-weight: 600; }
@media (max-width: 45rem) {
  th, td { padding: .3rem .4rem; }
  th:first-child, td:first-child, th.words, td.words { white-space: normal; min-width: 6.5rem; max-width: 8.5rem; }
}
.tall { max-height: 32rem; overflow-y: auto; }
.tall th { position: sticky; top: 0; background: Canvas; z-index: 1; }
.legend span { display: inline-block; margin-right: 1rem; }
.legend i { display: inline-block; width: .9rem; height: .9rem; border: 1px solid #888; vertical-align: -.1rem; }
code { background: var(--soft); padding: 0 .2rem; overflow-wrap: anywhere; }
"""


def page(
    parts: Sequence[tuple[Comparison, Path, Mapping[str, Path], Sequence[Case]]],
    about: Sequence[str],
    out: Path | None = None,
    over_all: tuple[str, Sequence[Sequence[str]]] | None = None,
) -> str:
    """Return the text of the page.

    Args:
        parts: comparison, bar chart, charts by the heading of their table, and pictures, per data set.
        about: sentences on the origin of the numbers.
        out: folder of the page; pictures of more than `EMBEDDED` images, or of more than `LARGEST` characters, are
            files in its folder `images`.
        over_all: heading and lines of a table over all data sets; the first line names the columns.
    """
    encoded = [[encoded_pictures(case) for case in cases] for *_, cases in parts]
    files = out / FOLDER if out is not None and not _fit(encoded) else None
    title = "Comparison of segmentation networks"
    sections = "\n".join(
        _section(number, *part, pictures, files)
        for number, (part, pictures) in enumerate(zip(parts, encoded, strict=True), start=1)
    )
    return (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}{VIEWER_STYLE}</style></head>\n<body>\n<main>\n<h1>{title}</h1>\n{page_tools()}\n"
        f"{_over_all(over_all)}{sections}\n<h2>About these numbers</h2>\n{_list(about)}\n</main>\n{FULL_SIZE}\n"
        f"<script>{SCRIPT}</script>\n</body></html>\n"
    )


def _fit(parts: Sequence[Sequence[Mapping[str, bytes]]]) -> bool:
    """Whether the pictures of all cases fit in the page, in which 3 bytes become 4 characters."""
    sizes = [[len(png) for png in pictures.values()] for part in parts for pictures in part]
    return len(sizes) <= EMBEDDED and sum(map(sum, sizes)) * 4 // 3 <= LARGEST


def _over_all(given: tuple[str, Sequence[Sequence[str]]] | None) -> str:
    if given is None:
        return ""
    heading, table = given
    return f"<h2>{escape(heading)}</h2>\n{_wide(_table(table[0], table[1:]), heading)}\n"


def _section(
    number: int,
    comparison: Comparison,
    chart: Path,
    charts: Mapping[str, Path],
    cases: Sequence[Case],
    encoded: Sequence[Mapping[str, bytes]],
    files: Path | None,
) -> str:
    parts = [
        f"<h2>{escape(comparison.heading)}</h2>",
        _wide(_scores(comparison), f"Scores, {comparison.heading}"),
        _list(footnotes(comparison, "Blue")),
        _chart(chart, "Bar chart of the table above"),
    ]
    for heading, table, notes in more_tables(comparison):
        if table:
            kind = "wide tall" if len(table) > TALL else "wide"
            scrolled = _wide(_table(table[0], table[1:]), f"{heading}, {comparison.heading}", kind)
            parts += [f"<h3>{escape(heading)}</h3>", scrolled, *([_list(notes)] if notes else [])]
            if heading in charts:
                kind = "FROC curves" if heading == LESION_HEADING else "Chart"
                parts.append(_chart(charts[heading], f"{kind} of the table above"))
    worst = failure_table(failures(comparison))
    if worst:
        parts += [f"<h3>{WORST}</h3>", f"<p>{WORST_NOTE}</p>"]
        parts += [_wide(_table(worst[0], worst[1:]), f"{WORST}, {comparison.heading}", "wide tall")]
    if cases:
        key = legend(cases, comparison.classes)
        parts += ["<h3>The same images, segmented by every model, worst cases first</h3>", _legend(key)]
        parts += ["<p>Images stored for every model come first. Click a picture to enlarge it.</p>"]
        heads = dict.fromkeys(head for case in cases for head in case.pictures)
        names, colours = [case.name for case in cases], [css(colour) for _, colour in key]
        models = [head for head in heads if head not in ("image", "truth")]
        pictures = "\n".join(
            _case(case, pngs, files and files / f"{number}-{n}")
            for n, (case, pngs) in enumerate(zip(cases, encoded, strict=True))
        )
        parts += [f"<div>{viewer(number, names, models, colours)}\n{pictures}</div>"]
    options = _table(["Model", *OPTIONS, "run"], option_rows(comparison))
    parts += ["<h3>Training options</h3>", _wide(options, f"Options, {comparison.heading}")]
    parts += [f"<p>Data set digest <code>{escape(comparison.digest)}</code></p>"]
    return "\n".join(parts)


def _chart(path: Path, words: str) -> str:
    width, height = _png_size(path)
    picture = base64.b64encode(path.read_bytes()).decode()
    return _wide(
        f'<img class="chart" width="{width}" height="{height}" style="height:auto" '
        f'alt="{words}" src="data:image/png;base64,{picture}">',
        f"{words}, {path.stem}",
    )


def _wide(content: str, name: str, kind: str = "wide") -> str:
    """Wrap content that may be wider than the page in a part that scrolls by keys."""
    return f'<div class="{kind}" role="region" tabindex="0" aria-label="{escape(name)}">{content}</div>'


def _scores(comparison: Comparison) -> str:
    lines = []
    for row in (comparison.trivial, *comparison.rows):
        shown = cells(row, comparison, "{}".format)
        out = [f"<td>{escape(row.title)}</td>"]
        for name, text in zip(TITLES, shown, strict=True):
            number, _, bounds = text.partition(" ")
            best = ' class="best"' if row.title in comparison.best[name] else ""
            out.append(f"<td{best}>{number}<small>{escape(bounds)}</small></td>")
        out.append(f"<td>{escape(p_text(row, comparison))}</td>")
        kind = ' class="trivial"' if row is comparison.trivial else ""
        lines.append(f"<tr{kind}>{''.join(out)}</tr>")
    return _framed(["Model", *TITLES.values(), "p"], lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    words = {n for n in range(len(head)) if any(row[n] and not NUMBER.match(row[n]) for row in rows)}
    lines = [
        "<tr>" + "".join(f"<td{LEFT if n in words else ''}>{escape(text)}</td>" for n, text in enumerate(row)) + "</tr>"
        for row in rows
    ]
    return _framed(head, lines, words)


def _framed(head: Sequence[str], lines: Sequence[str], words: Collection[int] = ()) -> str:
    """Return a table; `words` are the columns with text."""
    heads = "".join(
        f'<th scope="col"{LEFT if n in words else ""}>{escape(text)}</th>' if text else "<td></td>"
        for n, text in enumerate(head)
    )
    body = "\n".join(lines)
    return f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"


def _list(sentences: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences) + "</ul>"


def _legend(entries: Sequence[tuple[str, tuple[int, int, int]]]) -> str:
    spans = (f'<span><i style="background:{css(colour)}"></i> {escape(name)}</span>' for name, colour in entries)
    return f'<p class="legend">{"".join(spans)}</p>'


def _case(case: Case, pngs: Mapping[str, bytes], files: Path | None) -> str:
    """Return pictures of a case, embedded or in files whose names begin with `files`."""
    figures = "".join(
        f'<figure><img class="opens" data-head="{escape(head)}" width="{picture.width}" height="{picture.height}" '
        f'alt="{escape(head)} of {escape(case.name)}" src="{_source(pngs[head], files, number)}">'
        f"<figcaption>{escape(head)}</figcaption></figure>"
        for number, (head, picture) in enumerate(case.pictures.items())
    )
    listed = "".join(f"<li>{escape(text)}</li>" for text in case.remarks)
    remarks = f'<ul class="remarks">{listed}</ul>' if listed else ""
    return f'<div class="case-group"><p>{escape(case.name)}</p>{remarks}<div class="case">{figures}</div></div>'


def _source(png: bytes, files: Path | None, number: int) -> str:
    if files is None:
        return f"data:image/png;base64,{base64.b64encode(png).decode()}"
    path = files.with_name(f"{files.name}-{number}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png)
    return f"{path.parent.name}/{path.name}"


def encoded_pictures(case: Case) -> dict[str, bytes]:
    """Encode the pictures of a case as PNG."""
    return {head: _png(picture) for head, picture in case.pictures.items()}


def _png(picture: Image.Image) -> bytes:
    """Encode as PNG, with a palette if there are at most 256 colors."""
    few = picture.getcolors(256)
    buffer = io.BytesIO()
    (picture.quantize(len(few), dither=Image.Dither.NONE) if few else picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _png_size(path: Path) -> tuple[int, int]:
    with Image.open(path, formats=["PNG"]) as picture:
        return picture.size
