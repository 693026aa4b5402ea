"""Measured rows in a file: one JSON object a line, written as soon as it is measured."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from transforms.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One way of computing something.

    Attributes:
        group: what is computed, such as "step unet quick".
        way: how, such as "bf16".
        batch: images and their size.
        device: of the computation.
        torch: version.
        seconds: median of the repeats; None where it could not be measured, and `note` says why.
        low: fastest repeat.
        high: slowest repeat.
        images_per_second: by the median.
        peak_gb: most memory of a GPU, in GB (10**9 bytes); None on a CPU.
        ratio: seconds of fp32 over these; of a loop those of the bare step over those of an iteration.
        note: what else is to be known.
    """

    group: str
    way: str
    batch: str
    device: str
    torch: str
    seconds: float | None = None
    low: float | None = None
    high: float | None = None
    images_per_second: float | None = None
    peak_gb: float | None = None
    ratio: float | None = None
    note: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes it the same row as one of an earlier call."""
        return self.group, self.way, self.device, self.torch


def read(path: Path) -> list[Row]:
    """The rows of a file; none if it is not there.

    Raises:
        UserError: the file holds something else.
    """
    return read_lines(path, lambda line: Row(**json.loads(line)), "row")


def read_lines(path: Path, parse: Callable[[str], T], what: str) -> list[T]:
    """What the lines of a file hold; nothing if it is not there. A line cut off by the end of a machine is left out.

    Args:
        parse: raises ValueError, TypeError or KeyError on what it is not.
        what: name of what is measured.

    Raises:
        UserError: the file holds something else.
    """
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True), 1):
        if line.startswith("{") and not line.endswith("\n"):
            break
        try:
            found.append(parse(line))
        except (ValueError, TypeError, KeyError):
            raise UserError(f"{path}: line {number} is no measured {what}; give another --out") from None
    return found


def append(path: Path, row: Row) -> None:
    """Add a row, see `append_line`."""
    append_line(path, asdict(row))


def append_line(path: Path, entry: Mapping[str, Any]) -> None:
    """Add a line of JSON, in place of one that was cut off, and have it on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(json.dumps(entry).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def table(rows: Iterable[Row]) -> str:
    """Rows as a table of plain text."""
    head = ("what", "way", "batch", "seconds", "low to high", "images/s", "GB", "ratio", "")
    return aligned([head, *(_cells(row) for row in rows)])


def aligned(cells: Sequence[Sequence[str]]) -> str:
    """Lines of cells in columns."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def _cells(row: Row) -> tuple[str, ...]:
    def number(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    spread = f"{number(row.low, 4)} to {number(row.high, 4)}" if row.seconds is not None else "-"
    measured = (number(row.seconds, 4), spread, number(row.images_per_second, 1), number(row.peak_gb, 2))
    return row.group, row.way, row.batch, *measured, number(row.ratio, 2), row.note
