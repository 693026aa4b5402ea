"""Text files and tables of an output folder: written atomically, readable even after a spreadsheet saved them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engines.base.world import is_main
from transforms.atomic_write import atomic_file
from transforms.errors import UserError
from transforms.plain_text import csv_cell, one_line

DELIMITERS = ",;\t"
COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
"""A number as spreadsheets write it in most of Europe."""


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file; none if it does not exist.

    Also reads files saved by a spreadsheet: with a byte order mark, in UTF-16 or a code page, separated by semicolons
    or tabs, with decimal commas. Text that `write_csv` protected from execution by a spreadsheet is restored.
    """
    if not path.is_file():
        return []
    text = _decoded(path.read_bytes())
    first = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    read = _number if delimiter != "," else _text
    return [{_text(name): read(value) for name, value in row.items()} for row in rows]


def read_user_csv(option: str, path: Path, columns: str) -> list[dict[str, str]]:
    """Like `read_csv`, for a file given by an option; `columns` describes the required columns for the message.

    Raises:
        UserError: the file does not exist or cannot be read.
    """
    where = f"{option} {one_line(path)}"
    if not path.is_file():
        raise UserError(f"{where}: no such file; expected a CSV file with {columns}")
    try:
        return read_csv(path)
    except (OSError, csv.Error) as error:
        raise UserError(f"{where}: cannot be read ({one_line(str(error))}); expected a CSV file") from None


def read_epochs(path: Path) -> list[dict[str, str]]:
    """Return the rows of eval/epochs.csv, which have at least a stage and an epoch; an incomplete last row is dropped.

    Raises:
        UserError: it is no longer such a table.
    """
    try:
        rows = [row for row in read_csv(path) if any(row.values())]
        if rows and None in rows[-1].values() and not path.read_bytes().endswith(b"\n"):
            rows.pop()
        for row in rows:
            if None in row or not row["stage"] or not float(row["epoch"]).is_integer():
                raise ValueError(f"a row with epoch {row['epoch']}")
            row["epoch"] = str(int(float(row["epoch"])))
    except (ValueError, KeyError, TypeError, csv.Error, OverflowError) as error:
        raise UserError(
            f"{path}: is no longer a table of epochs ({str(error)[:80]}); rename it, and --resume true begins a new one"
        ) from None
    return rows


def _decoded(content: bytes) -> str:
    for encoding in ("utf-16",) if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")


def _number(value: Any) -> Any:
    return value.replace(",", ".") if isinstance(value, str) and COMMA.fullmatch(value) else _text(value)


def _text(value: Any) -> Any:
    """Remove the apostrophe of `csv_cell`."""
    return value[1:] if isinstance(value, str) and csv_cell(value[1:]) == value else value


def _cell(value: Any) -> Any:
    """Return text that no spreadsheet executes; numbers, also as text, are not changed."""
    if not isinstance(value, str):
        return value
    try:
        float(value)
    except ValueError:
        return csv_cell(value)
    return value


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    if not is_main():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows under the union of their keys, in order of first appearance; see `transforms.plain_text.csv_cell`."""
    if not is_main():
        return
    fields = list(dict.fromkeys(key for row in rows for key in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(map(_cell, fields))
        writer.writerows([_cell(row.get(name, "")) for name in fields] for row in rows)
