"""Shared parts of the networks built on VGG16 (Tables 2 and 5): rows of the paper's tables, and their modules.

Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition" (2015),
configuration D.

Differences from the paper: none. SAME padding means zeros on all sides for a convolution, and rounding up for a
pooling, so that a map of odd size keeps its last row and column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, cast

import torch.nn.functional as F
from torch import Tensor, nn

from nets import initialise
from nets.checkpointing import recomputed
from nets.dilated_conv import DilatedConv2d
from nets.full_precision import full

MIN_CHANNELS = 8
"""Hidden channel counts are multiples of this at every width, to suit SIMD units and group normalization."""


class Conv(NamedTuple):
    """A convolution with stride 1 and SAME padding. `channels` None means the number of classes."""

    name: str
    kernel: int
    dilation: int
    channels: int | None


class Pool(NamedTuple):
    """A 2x2 max pooling with stride 2."""

    name: str


def scaled(channels: int, width: float) -> int:
    """Return `channels` times `width`, rounded to a multiple of 8, at least 8.

    Raises ValueError if `width` is not above zero.

    Examples:
        >>> scaled(512, 0.25), scaled(64, 0.02)
        (128, 8)
    """
    if not width > 0:
        raise ValueError(f"width must be above 0 (1.0 is the paper's), got {width}")
    return max(MIN_CHANNELS, MIN_CHANNELS * round(channels * width / MIN_CHANNELS))


def add_layers(
    network: nn.Module, table: Sequence[Conv | Pool], in_channels: int, out_channels: int, width: float
) -> None:
    """Add one module per row of `table` to `network`, under the row's name."""
    for row in table:
        if isinstance(row, Pool):
            network.add_module(row.name, nn.MaxPool2d(2, stride=2, ceil_mode=True))
            continue
        channels = out_channels if row.channels is None else scaled(row.channels, width)
        network.add_module(row.name, same_conv(in_channels, channels, row.kernel, row.dilation))
        in_channels = channels


def same_conv(in_channels: int, out_channels: int, kernel: int, dilation: int = 1, bias: bool = True) -> DilatedConv2d:
    """Return a convolution of stride 1 whose output has the size of its input (odd kernels)."""
    padding = dilation * (kernel - 1) // 2
    return DilatedConv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=bias)


def conv(network: nn.Module, name: str) -> nn.Conv2d:
    """Return the convolution of that name."""
    return cast(nn.Conv2d, network.get_submodule(name))


def initialise_rows(network: nn.Module, table: Sequence[Conv | Pool]) -> None:
    """Initialize the hidden convolutions of `table` by He normal, those of class scores by small values."""
    for row in table:
        if isinstance(row, Conv):
            start = initialise.small if row.channels is None else initialise.he_normal
            start(conv(network, row.name))


def apply_row(network: nn.Module, row: Conv | Pool, x: Tensor) -> Tensor:
    """Apply the row's module, and the ReLU that follows a convolution of hidden channels."""
    if isinstance(row, Conv) and row.channels is None:
        return full(network.get_submodule(row.name), x)
    x = network.get_submodule(row.name)(x)
    return F.relu(x, inplace=True) if isinstance(row, Conv) else x


def run_rows(
    table: Sequence[Conv | Pool], x: Tensor, apply: Callable[[Conv | Pool, Tensor], Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """Apply the rows of `table` one after the other; yield name and result of each pooling and of the last row.

    The rows from one pooling to the next are recomputed together by `nets.checkpointing`.
    """
    for part in _parts(table):
        x = recomputed(partial(_run, part, apply), x)
        yield part[-1].name, x


def _run(part: Sequence[Conv | Pool], apply: Callable[[Conv | Pool, Tensor], Tensor], x: Tensor) -> Tensor:
    for row in part:
        x = apply(row, x)
    return x


def _parts(table: Sequence[Conv | Pool]) -> Iterator[Sequence[Conv | Pool]]:
    start = 0
    for number, row in enumerate(table, 1):
        if isinstance(row, Pool) or number == len(table):
            yield table[start:number]
            start = number
