"""Tile grids: the cells each tile contributes to the result (core) and the cells it reads (core and halo).

Cores start at multiples of the step's alignment, the product of its strides, so that every pooling of a tile sees the
same pairs of cells as in the whole map; together they cover the map once. Halos are cut off only at the border of the
map, where the layers' own zero padding applies.
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
"""Overhead of a further tile, in pixels."""
BLOCK = 16
"""Side of the squares of pixels in which the background is looked up."""
LEAST_AIR = 0.02
"""Smallest share of an image's pixels for which a search for background pays off."""
COUNTS = 24
"""Maximum number of tile counts tried along one axis."""


@dataclass(frozen=True)
class Span:
    """One tile along one axis, in cells of the step's input: it reads start … stop - 1; its core is core_start … ."""

    start: int
    stop: int
    core_start: int
    core_stop: int


Grid = tuple[list[Span], list[Span]]


@dataclass(frozen=True)
class TileGeometry:
    """Geometry of a step's tiles.

    Attributes:
        align: cores start at multiples of it.
        halo: cells read beyond the core on each side, a multiple of `align`; ends at the border of the map.
        valid: (smallest input, cells lost per side) of a step without padding: input sizes are the smallest plus
            multiples of `align`.
        shift: cells before the map's first that such a step also reads, made by mirroring.
    """

    align: int
    halo: int
    valid: tuple[int, int] | None = None
    shift: int = 0

    @property
    def least_cells(self) -> int:
        """Cells read by a tile whose core is twice as wide as its halo; smaller tiles would mostly compute halos."""
        return (4 * self.halo + self.align) ** 2

    def answers(self, size: int) -> int:
        """Return the cells that all cores together cover, for a map of `size` cells."""
        return size if self.valid is None else size - 2 * (self.valid[1] - self.shift)

    def spans(self, size: int, core: int) -> list[Span]:
        """Return the tiles of a map of `size` cells along one axis; all cores but the last have `core` cells."""
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
        """Return the core sides worth trying: equal parts of the map, from the whole map to the smallest possible."""
        cells = -(-self.answers(size) // self.align)
        counts = np.unique(np.geomspace(1, cells, min(COUNTS, cells)).round().astype(int))
        return sorted({self.align * -(-cells // int(count)) for count in counts}, reverse=True)


@dataclass(frozen=True)
class ReceptiveField:
    """The part of the image that a cell of a map sees: its own `scale` pixels and `blur` more on each side."""

    air: UniformBackground | None = None
    scale: int = 1
    blur: int = 0


class UniformBackground:
    """The region of an image (N, C, H, W) with the value of one of its corners, as around the breast in mammograms.

    A network's output for a tile of such a region depends only on its size and on the image borders it touches, so it
    is computed once and copied wherever it recurs. Digital mammograms have this background; that of film is noise.
    """

    def __init__(self, image: Tensor) -> None:
        self.size = tuple(image.shape[-2:])
        corners = [image[..., row, column, None, None] for row in (0, -1) for column in (0, -1)]
        few = image[..., ::BLOCK, ::BLOCK]
        value = max(corners, key=lambda corner: int((few == corner).sum()))
        self._sums: NDArray[np.int64] | None = None  # blocks with other values above and left of each position
        # A few pixels usually show that an image has no such background.
        if int((few == value).all(dim=1).all(dim=0).sum()) < LEAST_AIR * few.shape[-2] * few.shape[-1]:
            return
        other = (image != value).flatten(0, 1).any(dim=0).float()
        blocks = torch.nn.functional.max_pool2d(other[None], BLOCK, ceil_mode=True)[0].cpu().numpy()
        self._sums = np.pad(blocks.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))

    def empty(self, grid: Grid, scale: int, margin: int) -> NDArray[np.bool_]:
        """Return which tiles of a grid (rows, columns) see only background.

        The cells of the tiled map are `scale` pixels wide and see `margin` pixels beyond.
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
        """Return a key that is equal for two tiles of background if the network's output for them is the same."""
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
    """Return the fastest grid whose tiles read at most `max_cells`; if none does, the one with the smallest tiles.

    Args:
        geometry: geometry of the step.
        size: (h, w) of its input.
        max_cells: maximum number of cells that a tile reads.
        field: receptive field of the input's cells in the image; tiles of background cost nothing.
        slowness: time per cell in a tile of so many cells, in any unit.

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
