"""Merging of binary structure masks into one label map: ranking, superposition, optional smoothing.

Source: the paper, section 3.1.2: "the pixels should superpose other pixels when merging the binary maps into single
pixel-wise annotations. All binary maps except calcifications, text, nipple and auxiliary lymph nodes can be smoothed
using a Gaussian filter at merging time."
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from scripts.importers.labels.classes import ClassTable
from scripts.importers.writing.cases import Label
from scripts.importers.writing.writer import Summary
from transforms.errors import UserError
from transforms.vocabulary import plain

Mask = NDArray[np.bool_]
Draw = Callable[[Mask], object]
"""Function that sets the pixels of one structure to True in a mask (rows, columns), and leaves the others unchanged."""

NEVER_SMOOTHED = {"calcification", "text", "nipple", "axillary lymph node"}  # in the form of `plain`
_NOTHING = 255  # pixel not painted yet; class ids end at 254
_STRIP = 256


@dataclass
class Tally:
    """Counts to report to the user: remarks, and pixels per pair of overlapping classes.

    Both are counters of texts, so that the writer can add the counts of several processes. A remark that is a table
    has one text per cell, see `count`.
    """

    notes: Counter[str] = field(default_factory=Counter)
    overlaps: Counter[str] = field(default_factory=Counter)

    def count(self, table: str, cell: str, number: int = 1) -> None:
        """Add to a cell of a table."""
        self.notes[f"{table}\t{cell}"] += number

    def cells(self, table: str) -> dict[str, int]:
        """Return the sorted cells of a table with their counts."""
        start = f"{table}\t"
        return {key[len(start) :]: count for key, count in sorted(self.notes.items()) if key.startswith(start)}

    def report(self, summary: Summary) -> None:
        """Add the remarks and overlaps to a summary; the importer itself reports tables."""
        summary.notes += [f"{count} {what}" for what, count in sorted(self.notes.items()) if count and "\t" not in what]
        summary.overlaps = dict(self.overlaps.most_common())
        if summary.overlaps:
            pairs = ", ".join(f"{pair} ({count})" for pair, count in self.overlaps.most_common(3))
            more = f" and {len(summary.overlaps) - 3} more pairs" if len(summary.overlaps) > 3 else ""
            summary.notes.append(f"pixels of two classes were assigned to the one of higher precedence: {pairs}{more}")


class Canvas:
    """A label map under construction. It holds the map and one mask, independent of the number of structures.

    Args:
        shape: (rows, columns).
        table: class ids and names.
        tally: receives the remarks and overlaps.
        smooth: standard deviation in pixels of the Gaussian for each binary map; 0: no smoothing.
    """

    def __init__(self, shape: tuple[int, int], table: ClassTable, tally: Tally, smooth: float = 0.0) -> None:
        self._label = np.full(shape, _NOTHING, np.uint8)
        self._mask = np.zeros(shape, bool)
        self._table, self._tally, self._smooth = table, tally, smooth

    def paint(self, target: int, draws: Iterable[tuple[str, Draw]]) -> None:
        """Draw the named structures of one class together, over the current map."""
        if self._table.binary and target == 0:
            return  # the rest needs no painting, and the tumor wins over it everywhere
        kept = plain(self._table.names[target]) in NEVER_SMOOTHED or not self._smooth
        later: list[Draw] = []
        self._mask[...] = False
        for name, draw in draws:
            if kept or plain(name) not in NEVER_SMOOTHED:
                draw(self._mask)
            else:
                later.append(draw)
        if not kept and not smooth_edges(self._mask, self._smooth):
            self._tally.notes["binary maps were too thin to be smoothed and were left unchanged"] += 1
        for draw in later:
            draw(self._mask)
        self._put(target)

    def _put(self, target: int) -> None:
        counts = np.zeros(256, np.int64)
        for first in range(0, len(self._label), _STRIP):
            label, mask = self._label[first : first + _STRIP], self._mask[first : first + _STRIP]
            counts += np.bincount(label[mask], minlength=256)
            label[mask] = target
        for other in np.flatnonzero(counts[:_NOTHING]):
            if other != target:
                pair = f"{self._table.names[target]} over {self._table.names[other]}"
                self._tally.overlaps[pair] += int(counts[other])

    def finish(self) -> Label:
        """Return the label map; unpainted pixels are class 0."""
        self._label[self._label == _NOTHING] = 0
        return self._label


def superpose(
    shape: tuple[int, int], draws: Mapping[str, Draw], table: ClassTable, tally: Tally, smooth: float = 0.0
) -> Label:
    """Return the label map (rows, columns) uint8 of named structures, painted in the table's order.

    Args:
        draws: structure name, known to the table, to the function that draws it; each is called once, in that order.
        smooth: see `Canvas`.
    """
    canvas = Canvas(shape, table, tally, smooth)
    for target in table.order:
        members = [(name, draw) for name, draw in draws.items() if table.known[name] == target]
        if members:
            canvas.paint(target, members)
    return canvas.finish()


def smooth_edges(mask: Mask, sigma: float) -> bool:
    """Smooth the outline of a binary map in place: a Gaussian over its 0/1 values, thresholded at one half.

    Straight edges are kept, corners become round, and structures thinner than 1.35 sigma vanish (disks: below a radius
    of 1.18 sigma). The code published with CSAW-S (csaws_creation/, `APPLY_SMOOTHING`, off there too) filters the 8-bit
    mask instead and keeps values above 0, by which a mask of 0 and 255 grows by about three pixels per side, and one of
    0 and 1 shrinks by four.

    Returns:
        False if nothing would be left; the mask is then unchanged.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return True
    margin = int(4.0 * sigma + 0.5) + 1  # the filter's radius, and one more, so that the box ends in zeros
    box = np.s_[
        max(rows[0] - margin, 0) : rows[-1] + 1 + margin, max(columns[0] - margin, 0) : columns[-1] + 1 + margin
    ]
    # "nearest": a structure that is cut off by the image border continues beyond it
    soft = gaussian_filter(mask[box].astype(np.float32), sigma, mode="nearest", truncate=4.0) > 0.5
    if not soft.any():
        return False
    mask[box] = soft
    return True


def checked_smooth(sigma: float) -> float:
    """Return a valid standard deviation; raise UserError otherwise."""
    if not 0.0 <= sigma <= 100.0:
        raise UserError(f"--smooth is {sigma:g}; expected a standard deviation in pixels from 0 (off) to 100")
    return sigma


def size_text(shape: Sequence[int]) -> str:
    """Format (rows, columns) for messages."""
    return " x ".join(map(str, shape))
