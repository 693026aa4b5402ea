"""Comparison as text for a console."""

from __future__ import annotations

from collections.abc import Sequence

from engines.records.score_table import TITLES
from scripts.comparison.boundary_table import boundary_heading, boundary_table
from scripts.comparison.lesion_table import lesion_table
from scripts.comparison.statement_table import heading, pair_table, place_table, sentences
from scripts.comparison.table import (
    LESION_HEADING,
    Comparison,
    cells,
    fold_table,
    folds_heading,
    footnotes,
    p_text,
)


def console(comparison: Comparison) -> str:
    """Return the comparison in the layout of Tables 9 and 10, with intervals; `*` marks the best of a column."""
    lines = [["Model", *TITLES.values(), "p"]]
    lines += [[comparison.trivial.title, *cells(comparison.trivial, comparison), ""]]
    lines += [[row.title, *cells(row, comparison), p_text(row, comparison)] for row in comparison.rows]
    more: list[str] = []
    for title, table in (
        (folds_heading(comparison), fold_table(comparison)),
        (LESION_HEADING, lesion_table(comparison.lesions)),
        (boundary_heading(comparison.boundaries), boundary_table(comparison.boundaries)),
    ):
        more += ["", title, "", *_aligned(table)] if table else []
    for extra in comparison.extra:
        shown = ["", extra.heading, "", *_aligned(extra.lines)] if extra.lines else []
        more += [*shown, *(["", *extra.notes] if extra.notes else [])]
    if comparison.verdict:
        made = comparison.verdict
        tables = ["", *_aligned(place_table(made)), "", *_aligned(pair_table(made))]
        more += ["", heading(made), *tables, "", *sentences(made)]
    return "\n".join([comparison.heading + ", per cent", "", *_aligned(lines), *more, "", *footnotes(comparison)])


def aligned(table: Sequence[Sequence[str]]) -> str:
    """Return a table with a rule below its head."""
    return "\n".join(_aligned(table))


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Align columns, with a rule below the first line."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return [text[0], "-" * len(text[0]), *text[1:]]
