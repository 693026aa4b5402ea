"""The comparison as one HTML file: everything inside, nothing loaded, for screens of any width, light or dark."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from PIL import Image

from engines.records.score_table import TITLES
from scripts.comparison.image_strips import Case, colour_of
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

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --best: #0072b233; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; } h3 { font-size: 1rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .8rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: Canvas; }
td.best { background: var(--best); font-weight: 600; }
td small { opacity: .7; font-weight: 400; display: block; }
tr.trivial { opacity: .7; }
ul { padding-left: 1.2rem; } li { margin: .2rem 0; }
img.chart { width: 100%; min-width: 36rem; max-width: 60rem; background: #fff; border-radius: .5rem; }
.case { display: flex; flex-wrap: wrap; gap: .6rem; margin: 0 0 1.4rem; }
.case figure { margin: 0; width: 9rem; } .case img { width: 100%; image-rendering: pixelated; border-radius: .25rem; }
.case figcaption { font-size: .85rem; }
.legend span { display: inline-block; margin-right: 1rem; }
.legend i { display: inline-block; width: .9rem; height: .9rem; border: 1px solid #888; vertical-align: -.1rem; }
code { background: var(--soft); padding: 0 .2rem; overflow-wrap: anywhere; }
"""


def page(parts: Sequence[tuple[Comparison, Path, Path | None, Sequence[Case]]], about: Sequence[str]) -> str:
    """The file's text.

    Args:
        parts: of each data set its comparison, column chart, FROC chart (if any) and pictures.
        about: sentences on where the numbers are from.
    """
    title = "Comparison of segmentation networks"
    sections = "\n".join(_section(*part) for part in parts)
    return (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
        f"{sections}\n<h2>About these numbers</h2>\n{_list(about)}\n</body></html>\n"
    )


def _section(comparison: Comparison, chart: Path, curves: Path | None, cases: Sequence[Case]) -> str:
    parts = [
        f"<h2>{escape(comparison.heading)}</h2>",
        _scores(comparison),
        _list(footnotes(comparison, "Blue")),
        _chart(chart, "Column chart of the table above"),
    ]
    for heading, table, notes in more_tables(comparison):
        if table:
            parts += [f"<h3>{escape(heading)}</h3>", _table(table[0], table[1:]), *([_list(notes)] if notes else [])]
            if heading == LESION_HEADING and curves is not None:
                parts.append(_chart(curves, "FROC curves of the table above"))
    if cases:
        parts += ["<h3>The same images, segmented by every model</h3>", _legend(comparison.classes)]
        parts += [_case(case) for case in cases]
    parts += ["<h3>How they were trained</h3>", _table(["Model", *OPTIONS, "run"], option_rows(comparison))]
    parts += [f"<p>Data set digest <code>{escape(comparison.digest)}</code></p>"]
    return "\n".join(parts)


def _chart(path: Path, words: str) -> str:
    width, height = _png_size(path)
    picture = base64.b64encode(path.read_bytes()).decode()
    return (
        f'<div class="wide"><img class="chart" width="{width}" height="{height}" style="height:auto" '
        f'alt="{words}" src="data:image/png;base64,{picture}"></div>'
    )


def _scores(comparison: Comparison) -> str:
    lines = [_line("th", ["Model", *TITLES.values(), "p"])]
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
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [_line("th", head), *(_line("td", row) for row in rows)]
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"


def _line(tag: str, texts: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts) + "</tr>"


def _list(sentences: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences) + "</ul>"


def _legend(names: Sequence[str]) -> str:
    entries = (f'<span><i style="background:{colour_of(c)}"></i> {escape(name)}</span>' for c, name in enumerate(names))
    return f'<p class="legend">{"".join(entries)}</p>'


def _case(case: Case) -> str:
    figures = "".join(
        f'<figure><img width="{picture.width}" height="{picture.height}" style="height:auto" '
        f'alt="{escape(head)} of {escape(case.name)}" src="data:image/png;base64,{_png(picture)}">'
        f"<figcaption>{escape(head)}</figcaption></figure>"
        for head, picture in case.pictures.items()
    )
    return f'<p>{escape(case.name)}</p><div class="case">{figures}</div>'


def _png(picture: Image.Image) -> str:
    """Base64 of a PNG, with as few colors as it has."""
    few = picture.getcolors(256)
    buffer = io.BytesIO()
    (picture.quantize(len(few), dither=Image.Dither.NONE) if few else picture).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _png_size(path: Path) -> tuple[int, int]:
    with Image.open(path, formats=["PNG"]) as picture:
        return picture.size
