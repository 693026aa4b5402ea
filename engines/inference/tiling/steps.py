"""Steps of a network with a limited receptive field, run tile by tile over a map."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from engines.inference.tiling.grid import Grid, ReceptiveField, Span, TileGeometry
from engines.inference.tiling.memory import on_meta, peak_bytes, size_of
from nets import ValidUNet
from nets.summary import Row, summarise
from nets.valid_unet import LOST, SMALLEST, STEP, mirrored

PROBE = 512
"""Side of the map on which a step's receptive field and memory are measured; a multiple of every stride."""
CACHE = 8 * 2**20
"""Bytes of maps up to which a tile is fastest on a CPU."""
NARROW = 128
"""Bytes per cell up to which memory access takes most of the time."""

Run = Callable[[Tensor], tuple[Tensor, ...]]
Write = Callable[[int, Tensor, tuple[slice, slice]], None]


class Tileable(Protocol):
    """Interface of a network with SAME padding that can run in tiles with the result of one whole pass.

    `tile_steps()` returns functions (N, C, h, w) → maps. The last map is the input of the next step; the others, and
    the last map of the last step, are the arguments of `join`, which returns logits whose cells are `tile_stride`
    pixels wide. The whole network is the steps, `join` and `nets.resize.upsample`.
    """

    @property
    def tile_stride(self) -> int:
        """Side of a cell of the result of `join`, in pixels."""

    def tile_steps(self) -> Sequence[Run]:
        """Return the steps, in order."""

    def join(self, *maps: Tensor) -> Tensor:
        """Run the part that follows the steps, on whole maps."""


@dataclass(frozen=True)
class Step:
    """Measurements of a `Run`.

    Attributes:
        geometry: halo and alignment, from the kernels, strides and dilations of its layers.
        strides: cells of the input per cell of each output.
        channels: channels of each output.
        fixed: bytes that it takes for a tile of any size (copies of weights).
        per_cell: further bytes per cell of the input read and image of the batch.
    """

    geometry: TileGeometry
    strides: tuple[int, ...]
    channels: tuple[int, ...]
    fixed: float
    per_cell: float

    def max_cells(self, memory: float, batch: int) -> int:
        """Return the number of cells that a tile may read to stay within `memory` bytes."""
        return max(1, int((memory - self.fixed) / (self.per_cell * batch)))

    def sizes(self, size: Sequence[int]) -> list[tuple[int, ...]]:
        """Return (h, w) of each output for an input of `size`."""
        return [tuple(-(-length // stride) for length in size) for stride in self.strides]

    def resident(self, source: Tensor, first: bool) -> int:
        """Return the bytes of the whole maps needed while the step runs; the image does not count."""
        cells = [c * h * w for c, (h, w) in zip(self.channels, self.sizes(source.shape[-2:]), strict=True)]
        return len(source) * source.element_size() * sum(cells) + (0 if first else size_of(source))

    def slowness(self, cells: int, batch: int) -> float:
        """Return the relative time per cell on the CPU in a tile of `cells`: longer if the maps do not fit its cache.

        The wider the layers, the longer they compute with each value, and the less memory access matters.
        """
        beyond = math.log2(max(1.0, cells * batch * self.per_cell / CACHE))
        return 1 + 0.35 * beyond * min(1.0, NARROW / self.per_cell)

    def field(self, before: ReceptiveField) -> ReceptiveField:
        """Return the receptive field of a cell of the last output, given that of an input cell (`before`)."""
        blur = before.blur + before.scale * self.geometry.halo
        return ReceptiveField(before.air, before.scale * self.strides[-1], blur)


def measure(meta_network: nn.Module, run: Run, channels: int, dtype: torch.dtype) -> Step:
    """Measure a function with SAME padding of a network on the meta device."""
    sides = (PROBE, 2 * PROBE)
    maps: tuple[Tensor, ...] = ()

    def once(x: Tensor) -> None:
        nonlocal maps
        maps = run(x)

    rows = summarise(meta_network, once, torch.empty(1, channels, PROBE, PROBE, dtype=dtype, device="meta"))
    strides = tuple(PROBE // y.shape[-1] for y in maps)
    align = max(strides)
    halo = -(-max((_radius(row) for row in rows), default=0) // align) * align
    fixed, per_cell = bytes_taken(run, channels, dtype, sides)
    return Step(TileGeometry(align, halo), strides, tuple(y.shape[1] for y in maps), fixed, per_cell)


def bytes_taken(
    run: Callable[[Tensor], object], channels: int, dtype: torch.dtype, sides: tuple[int, int]
) -> tuple[float, float]:
    """Return the fixed bytes of any tile and the bytes per cell, measured on two squares."""
    small, large = (peak_bytes(run, (1, channels, side, side), dtype) for side in sides)
    per_cell = (large - small) / (sides[1] ** 2 - sides[0] ** 2)
    return max(0.0, small - per_cell * sides[0] ** 2), per_cell


def _radius(row: Row) -> int:
    """Return how many cells an output of the layer sees beyond its own, on the side where it sees farther."""
    step = PROBE // row.output_size
    if row.stride > 1 and row.kernel_size > row.stride:
        return int(row.receptive_field)  # centered on the cell's first pixel, no longer on the cell
    return math.ceil((row.receptive_field - step) / 2)


def measure_valid(meta_network: ValidUNet, dtype: torch.dtype) -> Step:
    """Measure the unpadded U-Net on the meta device, as one step from image to logits."""
    sides = (SMALLEST + 16 * STEP, SMALLEST + 48 * STEP)
    fixed, per_cell = bytes_taken(runs(meta_network)[0], meta_network.in_channels, dtype, sides)
    geometry = TileGeometry(STEP, LOST, valid=(SMALLEST, LOST), shift=LOST if meta_network.padded else 0)
    return Step(geometry, (1,), (meta_network.out_channels,), fixed, per_cell)


def runs(network: nn.Module) -> Sequence[Run]:
    """Return the steps of a network for which `can_tile` is true."""
    if isinstance(network, ValidUNet):
        return (lambda x: (network.valid(x),),)
    return cast(Tileable, network).tile_steps()


def can_tile(network: nn.Module) -> bool:
    """Return whether `network` has the parts that tiles need, and its pass consists of those parts only."""
    part = "valid" if isinstance(network, ValidUNet) else "tile_steps"
    owner = next((kind for kind in type(network).__mro__ if part in vars(kind)), None)
    return owner is not None and is_plain(network, getattr(owner, "forward"))  # noqa: B009


def is_plain(network: nn.Module, forward: Callable[..., Tensor]) -> bool:
    """Return whether calling `network` runs only `forward`: no subclass overrides it, and there are no hooks."""
    hooks = (*network._forward_hooks, *network._forward_pre_hooks)
    return type(network).forward is forward and "forward" not in vars(network) and not hooks


def measured(network: nn.Module, image: Tensor) -> list[Step]:
    """Measure the network's `runs` for images with the number of channels and dtype of `image` (N, C, H, W)."""
    meta_network = on_meta(network)
    if isinstance(meta_network, ValidUNet):
        return [measure_valid(meta_network, image.dtype)]
    steps: list[Step] = []
    channels = image.shape[1]
    for run in runs(meta_network):
        steps.append(measure(meta_network, run, channels, image.dtype))
        channels = steps[-1].channels[-1]
    return steps


@dataclass
class Store:
    """Whole maps assembled from tiles, one per output, allocated when their dtype is known.

    `channels_last` is the fastest layout for convolutions on the CPU.
    """

    sizes: Sequence[tuple[int, ...]]
    device: torch.device
    channels_last: bool = False
    maps: list[Tensor | None] = field(default_factory=list)

    def write(self, number: int, tile: Tensor, position: tuple[slice, slice]) -> None:
        """Write the core of a tile, (N, C, h, w), into map `number`."""
        if not self.maps:
            self.maps = [None] * len(self.sizes)
        whole = self.maps[number]
        if whole is None:
            size = (*tile.shape[:2], *self.sizes[number])
            layout = torch.channels_last if self.channels_last else torch.contiguous_format
            whole = torch.empty(size, dtype=tile.dtype, device=self.device, memory_format=layout)
            self.maps[number] = whole
        whole[..., position[0], position[1]] = tile.to(self.device)

    def finished(self) -> list[Tensor]:
        """Return all maps."""
        return [whole for whole in self.maps if whole is not None]


def run_step(
    step: Step, run: Run, source: Tensor, grid: Grid, write: Write, device: torch.device, field: ReceptiveField
) -> int:
    """Pass every core of every output to `write`, with the number of the output and the position in it.

    Returns the number of tiles that the network computed; tiles of background are computed once per kind.
    """
    empty = None if field.air is None else field.air.empty(grid, field.scale, field.blur + _margin(step))
    known: dict[tuple[int, ...], list[Tensor]] = {}
    computed = 0
    for i, rows in enumerate(grid[0]):
        for j, columns in enumerate(grid[1]):
            key = None
            if field.air is not None and empty is not None and empty[i, j]:
                key = field.air.key(rows, columns, field.scale, field.blur + _margin(step))
            cores = known.get(key) if key is not None else None
            if cores is None:
                cores = _cores(step, run(_read(step, source, rows, columns, device)), rows, columns)
                computed += 1
            if key is not None and key not in known:
                known[key] = [core.clone() for core in cores]
            for number, (core, stride) in enumerate(zip(cores, step.strides, strict=True)):
                position = (
                    _at(rows.core_start, core.shape[-2], stride),
                    _at(columns.core_start, core.shape[-1], stride),
                )
                write(number, core, position)
    return computed


def _at(start: int, length: int, stride: int) -> slice:
    return slice(start // stride, start // stride + length)


def _margin(step: Step) -> int:
    """Return the number of pixels beyond a tile's own that mirroring may show it."""
    return 0 if step.geometry.valid is None else step.geometry.align


def _read(step: Step, source: Tensor, rows: Span, columns: Span, device: torch.device) -> Tensor:
    """Return the tile (N, C, h, w) on the network's device; on the CPU in channels last, the fastest layout there."""
    tile, outside = source, []
    for dim, span in ((-2, rows), (-1, columns)):
        if span.start >= 0 and span.stop <= source.shape[dim]:
            tile = tile.narrow(dim, span.start, span.stop - span.start)
        else:
            outside.append((dim, torch.arange(span.start, span.stop, device=source.device)))
    for dim, cells in outside:
        tile = tile.index_select(dim, mirrored(cells, source.shape[dim]))
    if device.type != "cpu":
        return tile.to(device).contiguous()
    # Not `contiguous`: with one channel, a map is in both layouts, and torch would consider it the other.
    return torch.empty(tile.shape, dtype=tile.dtype, memory_format=torch.channels_last).copy_(tile)


def _cores(step: Step, maps: Sequence[Tensor], rows: Span, columns: Span) -> list[Tensor]:
    """Return each output without its halo."""
    cores = []
    for whole, stride in zip(maps, step.strides, strict=True):
        down, right = (_core(step, span, stride) for span in (rows, columns))
        cores.append(whole[..., down, right])
    return cores


def _core(step: Step, span: Span, stride: int) -> slice:
    first = 0 if step.geometry.valid is not None else (span.core_start - span.start) // stride
    return slice(first, first - (-(span.core_stop - span.core_start) // stride))
