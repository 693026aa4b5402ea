"""The tables of a comparison for LaTeX (`--latex`): one file, a tabular each, for booktabs and graphicx."""

from __future__ import annotations

from collections.abc import Sequence

from engines.records.score_table import TITLES
from scripts.comparison.table import Comparison, cells, footnotes, more_tables, p_text
from transforms.plain_text import one_line

HEAD = (
    "% Tables of scripts.compare: \\usepackage{booktabs,graphicx} and \\input{comparison}. A table that is wider than\n"
    "% the text is scaled down to its width. Numbers are per cent unless a caption says otherwise.\n"
)
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "≥": r"$\geq$", "≤": r"$\leq$", "…": r"\dots{}", "−": "$-$", "–": "--", "\u00a0": "~",
    "|": r"\textbar{}", '"': "''",
}  # fmt: skip
"""Characters that mean something to LaTeX, or that its default font lacks."""
FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
"""Scales what follows down to the width of the text, if it is wider."""


def escaped(text: str) -> str:
    """Text as LaTeX prints it, on one line."""
    return "".join(SPECIAL.get(character, character) for character in one_line(text))


def latex(comparisons: Sequence[Comparison]) -> str:
    """The file's text."""
    return HEAD + "\n".join(_tables(comparison) for comparison in comparisons)


def _tables(comparison: Comparison) -> str:
    head = ["Model", *TITLES.values(), "p"]
    body = [[comparison.trivial.title, *cells(comparison.trivial, comparison), ""]]
    body += [[row.title, *cells(row, comparison), p_text(row, comparison)] for row in comparison.rows]
    parts = [_table(comparison.heading + ", per cent", [head, *body], footnotes(comparison))]
    parts += [_table(title, table, notes) for title, table, notes in more_tables(comparison) if table]
    return "\n".join(parts)


def _row(line: Sequence[str]) -> str:
    """A row; one that begins with a bracket or a star would be taken for an option of the row before."""
    text = " & ".join(map(escaped, line))
    return ("{}" if text.startswith(("[", "*")) else "") + text + r" \\"


def _table(title: str, lines: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """A table with its caption; notes are comments, to be taken into the caption as needed."""
    rows = [_row(line) for line in lines]
    columns = "l" + "r" * (len(lines[0]) - 1)
    return "\n".join(
        [
            *(f"% {one_line(note)}" for note in notes),
            r"\begin{table}",
            r"\centering\small",
            rf"\caption{{{escaped(title)}}}",
            FIT,
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            rows[0],
            r"\midrule",
            *rows[1:],
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            "",
        ]
    )
