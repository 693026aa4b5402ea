"""Tables of a comparison for LaTeX (`--latex`): one file with a tabular per table, for booktabs and graphicx."""

from __future__ import annotations

from collections.abc import Sequence

from engines.records.score_table import TITLES
from scripts.comparison.table import Comparison, cells, footnotes, more_tables, p_text
from transforms.plain_text import one_line

HEAD = (
    "% Tables of scripts.compare: \\usepackage{booktabs,graphicx} and \\input{comparison}. A table wider than the\n"
    "% text is scaled down to its width. Numbers are per cent unless stated otherwise in a caption.\n"
)
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "≥": r"$\geq$", "≤": r"$\leq$", "…": r"\dots{}", "−": "$-$", "–": "--", "\u00a0": "~",
    "|": r"\textbar{}", '"': "''",
}  # fmt: skip
"""Characters that are special in LaTeX, or missing in its default font."""
FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
"""Scale the following box down to the text width if it is wider."""


def escaped(text: str) -> str:
    """Escape text for LaTeX, on one line."""
    return "".join(SPECIAL.get(character, character) for character in one_line(text))


def latex(comparisons: Sequence[Comparison]) -> str:
    """Return the text of the file."""
    return HEAD + "\n".join(_tables(comparison) for comparison in comparisons)


def _tables(comparison: Comparison) -> str:
    head = ["Model", *TITLES.values(), "p"]
    body = [[comparison.trivial.title, *cells(comparison.trivial, comparison), ""]]
    body += [[row.title, *cells(row, comparison), p_text(row, comparison)] for row in comparison.rows]
    parts = [_table(comparison.heading + ", per cent", [head, *body], footnotes(comparison))]
    parts += [_table(title, table, notes) for title, table, notes in more_tables(comparison) if table]
    return "\n".join(parts)


def _row(line: Sequence[str]) -> str:
    """Return a row; a leading bracket or star is protected, since it would be an option of the previous row."""
    text = " & ".join(map(escaped, line))
    return ("{}" if text.startswith(("[", "*")) else "") + text + r" \\"


def _table(title: str, lines: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """Return a table with its caption; notes are comments, to be copied to the caption as needed."""
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
