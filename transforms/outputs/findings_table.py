"""The file findings.csv: rows are appended as images finish; tables of several processes are merged at the end."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from pathlib import Path

from transforms.atomic_write import atomic_file
from transforms.errors import UserError
from transforms.outputs.prediction import FINDINGS
from transforms.plain_text import csv_cell

FILE = FINDINGS
Row = dict[str, str]

_PART = "findings.part-"
_LAST = ("burned_in", "refused")
"""Columns that are always last."""
_State = tuple[int, int, int]


class FindingsTable:
    """A table to which rows are appended; it is rewritten, atomically, only if a row cannot be appended.

    A row can be appended if its name is new, it adds no columns, and the file was not changed by another process since.
    The bytes written for it do not depend on the number of rows. If a kill leaves a partial row, `rows_of` drops it;
    its image counts as not done.

    Args:
        path: path of the file, which is created by the first write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fields: list[str] = []
        self._names: set[str] = set()
        self._left: _State | None = None

    def put(self, row: Mapping[str, str]) -> None:
        """Append a row with at least "name"; an earlier row of the same name is removed.

        Raises:
            UserError: the file is no longer such a table.
            OSError: the file cannot be written; the earlier rows are unchanged.
        """
        row = {csv_cell(key): csv_cell(value) for key, value in row.items()}
        left, self._left = self._left, None
        if left is not None and left == _state(self.path) and self._follows(row):
            self._append(row, left[0])
        else:
            self._rewrite(row)
        self._left = _state(self.path)

    def _follows(self, row: Row) -> bool:
        return row["name"] not in self._names and row.keys() <= set(self._fields)

    def _append(self, row: Row, size: int) -> None:
        with self.path.open("ab", buffering=0) as file:
            try:
                rest = memoryview(_line(self._fields, row).encode())
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except BaseException:
                with suppress(OSError):
                    file.truncate(size)
                raise
        self._names.add(row["name"])

    def _rewrite(self, row: Row) -> None:
        name = row["name"]
        self._names = {other["name"] for other in rows_of(self.path)} - {name}
        self._fields = _ordered([*(_columns(self.path) if self._names else ()), *row])
        others = (other for other in rows_of(self.path) if other["name"] != name)
        _write(self.path, self._fields, (_line(self._fields, one) for one in chain(others, [row])))
        self._names.add(name)


@lru_cache(maxsize=8)
def _table(path: Path) -> FindingsTable:
    return FindingsTable(path)


def put_row(folder: Path, row: Mapping[str, str], file: str = FILE) -> None:
    """Write a row to a table of a folder, see `FindingsTable.put`."""
    _table(folder / file).put(row)


def put_refused(folder: Path, name: str, reason: str, file: str = FILE) -> None:
    """Write a row for an image that could not be read; its only other column is the reason."""
    put_row(folder, {"name": name, "refused": reason}, file)


def table_for(folder: Path, names: Iterable[str], number: int = 0, processes: int = 1) -> str:
    """Name of the table for the rows of these images: `FILE`, or a part that `merge_parts` merges into it.

    Each of several processes has its own part. A single process also has one if `FILE` has rows of these images from an
    earlier run, which are kept until all images are done. The part's number is above those of all tables with such
    rows, so that in `merge_parts` the new rows replace them.

    Args:
        number: number of this process, from 0 on.

    Raises:
        UserError: see `rows_of`; raised for any table before the first image.
    """
    cells = {csv_cell(name) for name in names}
    own = -1 if processes == 1 else number
    for path in (folder / FILE, *part_files(folder)):
        if any([row["name"] in cells for row in rows_of(path)]):  # a list, so that all rows are read and checked
            first = _part_number(path) + 1
            own = max(own, first + (number - first) % processes)
    return FILE if own < 0 else f"{_PART}{own}.csv"


def part_files(folder: Path) -> list[Path]:
    """Tables whose rows are not yet in the common table, in the order of their numbers."""
    return sorted((path for path in folder.glob(f"{_PART}*.csv") if _part_number(path) >= 0), key=_part_number)


def _part_number(path: Path) -> int:
    """Number of a part file; -1 for any other file."""
    number = path.name[len(_PART) : -len(".csv")]
    return int(number) if number.isascii() and number.isdigit() else -1


def merge_parts(folder: Path, names: Sequence[str]) -> None:
    """Merge the rows of all part files, if any, into the common table, in the order of a run with one process.

    Of several rows of one name, that of the last table is kept.

    Args:
        names: names of the images, in order; rows of other images precede theirs.
    """
    parts = part_files(folder)
    if not parts:
        return
    order = {csv_cell(name): number for number, name in enumerate(names)}
    tables = (folder / FILE, *parts)
    places: dict[str, tuple[bool, int]] = {}
    table_of: dict[str, int] = {}
    for number, path in enumerate(tables):
        for row in rows_of(path):
            places[row["name"]] = _place(row, order)
            table_of[row["name"]] = number
    in_order = sorted(places, key=places.__getitem__)
    headers = [_columns(path) for path in tables]
    used = dict.fromkeys(table_of[name] for name in in_order)
    fields = _ordered(column for number in used for column in headers[number])
    lines = {
        row["name"]: _line(fields, row)
        for number, path in enumerate(tables)
        for row in rows_of(path)
        if table_of[row["name"]] == number
    }
    _write(folder / FILE, fields, (lines[name] for name in in_order))
    for path in parts:
        path.unlink()


def _place(row: Row, order: Mapping[str, int]) -> tuple[bool, int]:
    """Sort key of a row: by the order of images, with refused images last."""
    number = order.get(row["name"], -1)
    return number >= 0 and bool(row.get("refused")), number


def read_rows(path: Path) -> list[Row]:
    """Rows of the table; none if it does not exist.

    Raises:
        UserError: see `rows_of`.
    """
    return list(rows_of(path))


def rows_of(path: Path) -> Iterator[Row]:
    """Rows of the table, one at a time; none if it does not exist. A last row without a line end is omitted.

    Raises:
        UserError: the table has another form, for example after a spreadsheet program has saved it.
    """
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            for row in csv.DictReader(_whole_lines(file)):
                if not row.get("name"):
                    raise ValueError("a row without name")
                yield {key: value for key, value in row.items() if key}
    except (ValueError, csv.Error):  # bytes that are not UTF-8 raise a ValueError
        raise UserError(
            f"{path}: no longer a table of earlier results to which rows can be added; move it away"
        ) from None


def _columns(path: Path) -> list[str]:
    """Names of the columns of a table that `rows_of` can read."""
    if not path.is_file():
        return []
    with path.open("rb") as file:
        return [name for name in csv.DictReader(_whole_lines(file)).fieldnames or () if name]


def _whole_lines(file: Iterable[bytes]) -> Iterator[str]:
    """The first line, and all others that have a line end."""
    for number, line in enumerate(file):
        if number and not line.endswith(b"\n"):
            return
        yield line.decode("utf-8" if number else "utf-8-sig")


def _ordered(columns: Iterable[str]) -> list[str]:
    """Unique columns in order of first appearance, with `_LAST` at the end."""
    return sorted(dict.fromkeys(columns), key=_LAST.__contains__)


def _line(fields: Sequence[str], row: Mapping[str, str]) -> str:
    line = io.StringIO(newline="")
    csv.DictWriter(line, fields, restval="").writerow(row)
    return line.getvalue()


def _write(path: Path, fields: Sequence[str], lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerow(fields)
        stream.writelines(lines)
        stream.flush()
        os.fsync(stream.fileno())


def _state(path: Path) -> _State | None:
    """Size, modification time and inode of the file, to detect changes by other processes."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino
