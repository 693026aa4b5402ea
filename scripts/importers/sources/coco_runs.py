"""Run-length encoded masks of COCO: lengths of alternating runs of 0 and 1 down the columns, as a list or as text.

Source: the COCO API (github.com/cocodataset/cocoapi, common/maskApi.c: `rleDecode`, `rleFrString`). The text holds
each length in groups of 5 bits, the lowest first, one character each (value + 48; bit 6 marks that another follows;
bit 5 of the last one is the sign); from the fourth length on, the difference to the length two before is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.importers.sources.via_outlines import Box, Mask

_GROUPS = 7  # groups of 5 bits: enough for more pixels than any image has


@dataclass(frozen=True, eq=False)
class Runs:
    """A mask as runs of ones.

    Attributes:
        size: (rows, columns).
        starts, stops: start and stop of each run, in pixels counted down the columns; at least one run.
    """

    size: tuple[int, int]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    @property
    def columns(self) -> tuple[int, int]:
        """First column of the mask, and the column after the last."""
        return int(self.starts[0]) // self.size[0], int(self.stops[-1] - 1) // self.size[0] + 1

    @property
    def pixels(self) -> int:
        """Number of pixels in the columns that the mask occupies; drawing processes all of them."""
        first, stop = self.columns
        return (stop - first) * self.size[0]

    @property
    def box(self) -> Box:
        """Bounding box of the mask's columns, with all rows."""
        first, stop = self.columns
        return float(first), 0.0, float(stop), float(self.size[0])

    def draw(self, mask: Mask) -> int:
        """Set the pixels of the runs to True, and return their number. The mask has the runs' size."""
        first, stop = self.columns
        flat = np.zeros(self.pixels + 1, np.int8)
        offset = first * self.size[0]
        flat[self.starts - offset] += 1
        flat[self.stops - offset] -= 1
        inside = np.add.accumulate(flat[:-1], dtype=np.int8).view(bool)
        mask[:, first:stop] |= inside.reshape(stop - first, self.size[0]).T
        return int((self.stops - self.starts).sum())

    def mark(self, mask: Mask) -> None:
        """Do nothing: runs always hold pixels."""


def parse_runs(content: Any) -> Runs | None:
    """Parse a `segmentation` object {"size": [rows, columns], "counts": list or text}; None if the mask is empty.

    Raises:
        ValueError: not in COCO's form; the message states the reason.
    """
    size = content.get("size")
    if not isinstance(size, list) or len(size) != 2 or not all(_is_integer(one) and 0 < one < 2**31 for one in size):
        raise ValueError(f"its size is {str(size)[:40]}; expected [rows, columns]")
    counts = content.get("counts")
    if isinstance(counts, str):
        lengths = _unpacked(counts)
    elif isinstance(counts, list):
        lengths = _listed(counts)
    else:
        raise ValueError(f"its counts are a {type(counts).__name__}; expected a list or a text")
    pixels = size[0] * size[1]
    if (lengths < 0).any() or (lengths > pixels).any() or _total(lengths) != pixels:
        raise ValueError(f"its runs do not fill {size[0]} x {size[1]} pixels (rows x columns)")
    ends = np.cumsum(lengths)
    starts, stops = ends[0:-1:2], ends[1::2]
    kept = stops > starts
    return Runs((size[0], size[1]), starts[kept], stops[kept]) if kept.any() else None


def _total(lengths: NDArray[np.int64]) -> int:
    """Return the sum, checked in floating point first: an integer overflow could give the expected sum."""
    return int(lengths.sum()) if float(lengths.sum(dtype=np.float64)) < 2.0**62 else -1


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _listed(counts: Sequence[Any]) -> NDArray[np.int64]:
    wrong = next((one for one in counts if not _is_integer(one) or not 0 <= one < 2**62), None)
    if wrong is not None or not counts:
        raise ValueError(f"its counts hold {str(wrong)[:20]!r}; expected integer numbers of pixels")
    return np.array(counts, np.int64)


def _unpacked(text: str) -> NDArray[np.int64]:
    """Return the run lengths of a compressed text."""
    try:
        codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        codes = np.empty(0, np.int64)
    if codes.size == 0 or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("its counts are not compressed runs")
    last = np.flatnonzero((codes & 32) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    groups = last - first + 1
    if groups.max() > _GROUPS:
        raise ValueError("its counts are not compressed runs")
    place = np.arange(codes.size) - np.repeat(first, groups)
    values = np.add.reduceat((codes & 31) << (5 * place), first)
    values -= np.where(codes[last] & 16, np.int64(1) << (5 * groups), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
