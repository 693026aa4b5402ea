"""Rows of a CSV file written by a spreadsheet or annotation tool."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from transforms.errors import UserError
from transforms.reading import limits
from transforms.reading.annotation_text import annotation_text


def csv_rows(path: Path, advice: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (row number, cells) of a CSV file, the header first; with commas, or semicolons as in some spreadsheets.

    Args:
        advice: what to do if the file is not a table, the end of the message.

    Raises:
        UserError: no such file, above the limits, or not a table.
    """
    data = annotation_text(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    header = text.split("\n", 1)[0]
    delimiter = ";" if header.count(";") > header.count(",") else ","
    csv.field_size_limit(limits.ANNOTATION_BYTES)  # an outline of 10,000 points exceeds the default
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise UserError(f"{path}: not a CSV table ({error}); {advice}") from None
    yield from enumerate(rows or [[]], start=1)
