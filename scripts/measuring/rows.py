"""Measured rows in a file: one JSON object per line, written as soon as it is measured."""

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
    """Measurement of one way of computing something.

    Attributes:
        group: what is computed, such as "step unet quick".
        way: how it is computed, such as "bf16".
        batch: number of images and their size.
        device: device of the computation.
        torch: version of torch.
        seconds: median of the repeats; None if not measurable, with the reason in `note`.
        low: fastest repeat.
        high: slowest repeat.
        images_per_second: from the median.
        peak_gb: peak GPU memory, in GB (10**9 bytes); None on a CPU.
        ratio: seconds of fp32 divided by `seconds`; for a loop, seconds of the bare step by those of an iteration.
        note: further information.
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
        """Identity of the row across calls."""
        return self.group, self.way, self.device, self.torch


def read(path: Path) -> list[Row]:
    """Return the rows of a file; empty if it is missing.

    Raises:
        UserError: the file holds something other than rows.
    """
    return read_lines(path, lambda line: Row(**json.loads(line)), "row")


def read_lines(path: Path, parse: Callable[[str], T], what: str) -> list[T]:
    """Parse the lines of a file; empty if it is missing. A truncated last line is skipped.

    Args:
        parse: raises ValueError, TypeError or KeyError for an invalid line.
        what: name of what is measured, for the error message.

    Raises:
        UserError: a line is invalid.
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
            raise UserError(f"{path}: line {number} is not a measured {what}; give another --out") from None
    return found


def append(path: Path, row: Row) -> None:
    """Append a row; see `append_line`."""
    append_line(path, asdict(row))


def append_line(path: Path, entry: Mapping[str, Any]) -> None:
    """Append a line of JSON, replacing a truncated last line, and sync it to disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(json.dumps(entry).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def table(rows: Iterable[Row]) -> str:
    """Format rows as a plain-text table."""
    head = ("what", "way", "batch", "seconds", "low to high", "images/s", "GB", "ratio", "")
    return aligned([head, *(_cells(row) for row in rows)])


def aligned(cells: Sequence[Sequence[str]]) -> str:
    """Align lines of cells in columns."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def _cells(row: Row) -> tuple[str, ...]:
    def number(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    spread = f"{number(row.low, 4)} to {number(row.high, 4)}" if row.seconds is not None else "-"
    measured = (number(row.seconds, 4), spread, number(row.images_per_second, 1), number(row.peak_gb, 2))
    return row.group, row.way, row.batch, *measured, number(row.ratio, 2), row.note
