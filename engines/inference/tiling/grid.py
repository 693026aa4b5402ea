"""Tile grids: the cells each tile answers for (core) and the cells it reads (core and halo).

Cores start at multiples of the step's alignment, the product of its strides, so that every pooling of a tile meets
the same pairs of cells as in the whole map; together they cover the map once. Halos end at the border of the map, where
the layers' own zero padding has to happen, and nowhere else inside it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TILE_PIXELS = 64 * 64
"""What a further tile costs beside its pixels, in pixels."""
BLOCK = 16
"""Side of the squares of pixels in which air is looked up."""
LEAST_AIR = 0.02
"""Share of an image's pixels below which it is not worth to look for air."""
COUNTS = 24
"""How many numbers of tiles are tried along one axis."""


@dataclass(frozen=True)
class Span:
    """One tile along one axis, in cells of the step's input: reads start … stop - 1, answers for core_start … ."""

    start: int
    stop: int
    core_start: int
    core_stop: int


Grid = tuple[list[Span], list[Span]]


@dataclass(frozen=True)
class TileGeometry:
    """How a step's tiles are cut.

    Attributes:
        align: cores start at multiples of it.
        halo: cells read beyond the core on each side, a multiple of `align`; ends at the border of the map.
        valid: (smallest input, cells lost on a side), for a step without padding: input sizes are the smallest
            plus multiples of `align`. It is given `shift` cells before the map's first, made by mirroring.
        shift: see above.
    """

    align: int
    halo: int
    valid: tuple[int, int] | None = None
    shift: int = 0

    @property
    def least_cells(self) -> int:
        """Cells read by a tile whose core is twice as wide as its halo; smaller ones would compute little else."""
        return (4 * self.halo + self.align) ** 2

    def answers(self, size: int) -> int:
        """Cells that all cores cover together, of a map of `size`."""
        return size if self.valid is None else size - 2 * (self.valid[1] - self.shift)

    def spans(self, size: int, core: int) -> list[Span]:
        """The tiles of a map of `size` cells along one axis, with cores of `core` cells but for the last."""
        size_out = self.answers(size)
        cores = [(start, min(start + core, size_out)) for start in range(0, size_out, core)]
        if self.valid is None:
            return [Span(max(0, a - self.halo), min(size, b + self.halo), a, b) for a, b in cores]
        smallest, lost = self.valid
        result = []
        for a, b in cores:
            steps = max(0, -(-(b - a + 2 * lost - smallest) // self.align))
            result.append(Span(a - self.shift, a - self.shift + smallest + self.align * steps, a, b))
        return result

    def sides(self, size: int) -> list[int]:
        """Core sides worth trying: equal parts of the map, in growing number, down to the smallest possible."""
        cells = -(-self.answers(size) // self.align)
        counts = np.unique(np.geomspace(1, cells, min(COUNTS, cells)).round().astype(int))
        return sorted({self.align * -(-cells // int(count)) for count in counts}, reverse=True)


@dataclass(frozen=True)
class ReceptiveField:
    """What a cell of a map sees of the image: its own `scale` pixels and `blur` more on each side."""

    air: UniformBackground | None = None
    scale: int = 1
    blur: int = 0


class UniformBackground:
    """Where an image (N, C, H, W) has but one value, that of one of its corners: digital mammograms around the breast.

    What a network makes of such a region depends only on its size and on the borders of the image it touches, so
    it is computed once and filled in wherever it occurs. Film has no such region: its air is noise.
    """

    def __init__(self, image: Tensor) -> None:
        self.size = tuple(image.shape[-2:])
        corners = [image[..., row, column, None, None] for row in (0, -1) for column in (0, -1)]
        few = image[..., ::BLOCK, ::BLOCK]
        value = max(corners, key=lambda corner: int((few == corner).sum()))
        self._sums: NDArray[np.int64] | None = None  # blocks with other values above and left of each place
        # Images without air are most often told by a few pixels.
        if int((few == value).all(dim=1).all(dim=0).sum()) < LEAST_AIR * few.shape[-2] * few.shape[-1]:
            return
        other = (image != value).flatten(0, 1).any(dim=0).float()
        blocks = torch.nn.functional.max_pool2d(other[None], BLOCK, ceil_mode=True)[0].cpu().numpy()
        self._sums = np.pad(blocks.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))

    def empty(self, grid: Grid, scale: int, margin: int) -> NDArray[np.bool_]:
        """Which tiles, (rows, columns) of them, see air alone.

        The tiles are of a map whose cells are `scale` pixels wide and see `margin` pixels beyond.
        """
        sums = self._sums
        if sums is None:
            return np.zeros((len(grid[0]), len(grid[1])), dtype=bool)
        (top, bottom), (left, right) = (
            self._blocks(spans, scale, margin, size) for spans, size in zip(grid, self.size, strict=True)
        )
        inside = sums[np.ix_(bottom, right)] - sums[np.ix_(top, right)] - sums[np.ix_(bottom, left)]
        empty: NDArray[np.bool_] = inside + sums[np.ix_(top, left)] == 0
        return empty

    @staticmethod
    def _blocks(spans: Sequence[Span], scale: int, margin: int, size: int) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        starts, stops = np.array([(span.start, span.stop) for span in spans]).T * scale
        return (starts - margin).clip(0) // BLOCK, -(-(stops + margin).clip(None, size) // BLOCK)

    def key(self, rows: Span, columns: Span, scale: int, margin: int) -> tuple[int, ...]:
        """Equal for two tiles that see air alone if the network must answer the same."""
        key: list[int] = []
        for span, size in zip((rows, columns), self.size, strict=True):
            before = max(-margin, min(span.start * scale, margin))
            behind = max(-margin, min(size - span.stop * scale, margin))
            key += [before, behind, span.stop - span.start, span.core_start - span.start]
            key.append(span.core_stop - span.core_start)
        return tuple(key)


def cheapest(
    geometry: TileGeometry,
    size: Sequence[int],
    max_cells: int,
    field: ReceptiveField | None = None,
    slowness: Callable[[int], float] | None = None,
) -> Grid:
    """The grid that takes the least time, of those whose tiles read at most `max_cells`.

    If there is none, the one with the smallest tiles.

    Args:
        geometry: of the step.
        size: (h, w) of its input.
        max_cells: see above.
        field: what those cells see of the image; tiles of air cost nothing.
        slowness: time for a cell in a tile of so many cells, of any unit.

    Raises:
        ValueError: the image has no pixels.
    """
    if min(size) < 1:
        raise ValueError(f"an image of {size[0]} x {size[1]} has no pixels to segment")
    field = field or ReceptiveField()
    options = [[geometry.spans(length, side) for side in geometry.sides(length)] for length in size]
    best = (options[0][-1], options[1][-1])
    least = float("inf")
    for grid in itertools.product(options[0], options[1]):  # from large tiles to small
        heights, widths = (np.array([span.stop - span.start for span in spans]) for spans in grid)
        largest = int(heights.max()) * int(widths.max())
        if largest > max_cells or (largest < geometry.least_cells and least < float("inf")):
            continue
        time = (
            np.outer(heights, widths) * (1.0 if slowness is None else slowness(largest)) + TILE_PIXELS / field.scale**2
        )
        if field.air is not None:
            time = time * ~field.air.empty(grid, field.scale, field.blur)
        if time.sum() < least:
            least, best = float(time.sum()), grid
    return best
