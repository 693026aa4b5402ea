"""A convolution with a large kernel and many channels by Fourier transform, for prediction on a CPU.

A 7x7 kernel multiplies and adds 49 times per pair of channels and cell. Pieces of 16 x 16 cells, of which the result
covers 10 x 10, have 130 independent numbers in Fourier space, four of them real: 3.9 products per cell, and as many
again for the transforms in both directions and of the kernels, if there are many channels, as in fc6 of a dilated VGG16
(512 in, 4096 out).

A dilated kernel combines every `dilation`-th cell, so the map is split into dilation² independent maps. Transforms are
short, and done as matrix products; a product of complex numbers is three real ones (Gauss). Everything is then a
product of large real matrices, for which libraries are fastest. `python -m scripts.benchmark dilated-conv --predict`
measures it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

SIDE = 16
"""Cells of a piece along each axis."""
LEAST_KERNEL = 5
WORTH_IT = 4.5
"""Minimum reduction factor of products: the matrices are smaller, and more data are moved."""
PIECES = 128
"""Pieces that are multiplied at once, if available: fewer give thin matrices."""
BLOCK = 2**24
"""Maximum number of values in a matrix made at a time."""


@lru_cache(maxsize=4)
def matrices(kernel: int) -> tuple[NDArray[np.float32], ...]:
    """Return float32 matrices that transform a piece, (points, SIDE²), and a kernel, (points, kernel²), into factors,
    and their products into the piece's core, (core², points).
    """
    cells = np.arange(SIDE**2).reshape(SIDE, SIDE)
    transform = np.fft.fft2(np.eye(SIDE**2).reshape(-1, SIDE, SIDE)).reshape(SIDE**2, -1).T
    mirror = np.roll(cells[::-1, ::-1], (1, 1), (0, 1)).ravel()  # position of the conjugate, as cells are real
    of_one, of_two = (transform[mirror == cells.ravel()].real, transform[cells.ravel() < mirror])
    re, im = of_two.real, of_two.imag
    core, taps = cells[: SIDE - kernel + 1, : SIDE - kernel + 1].ravel(), cells[:kernel, :kernel].ravel()
    # x = a + ib and conj(w) = c + id: xw is c(a + b) - b(c + d) + i(c(a + b) + a(d - c)); b(c + d), a(d - c) as below
    of_piece = np.concatenate([re + im, re, im, of_one])
    of_kernel = np.concatenate([re, -im - re, re - im, of_one])[:, taps]
    back = np.concatenate([2 * (re + im), 2 * im, -2 * re, of_one])[:, core].T / SIDE**2
    return tuple(matrix.astype(np.float32, order="C") for matrix in (of_piece, of_kernel, back))


def pays(x: Tensor, weight: Tensor, dilation: int) -> bool:
    """Return whether it takes much less work than convolving `x` (N, in, H, W) with `weight` (out, in, k, k)."""
    out_channels, in_channels, kernel, _ = weight.shape
    if not LEAST_KERNEL <= kernel < SIDE:
        return False
    points = 3 * (SIDE**2 - 4) // 2 + 4
    core = SIDE - kernel + 1
    sides = (dilation * math.ceil(math.ceil(size / dilation) / core) for size in x.shape[-2:])
    pieces = len(x) * math.prod(sides)
    direct = kernel**2 * in_channels * out_channels * x.shape[-2] * x.shape[-1] * len(x)
    products = in_channels * out_channels * (pieces + kernel**2)  # the last: the kernel's own transform
    transforms = pieces * (SIDE**2 * in_channels + core**2 * out_channels)
    return direct > WORTH_IT * points * (products + transforms)


def fourier_conv(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    """Return `F.conv2d` of stride 1 with zero padding that keeps the size, for a square odd kernel below SIDE.

    (N, in, H, W) → (N, out, H, W), float32; not differentiable. A value that is not finite, or a million times larger
    than its surroundings, spoils the whole piece that contains it.
    """
    of_piece, of_kernel, back = (torch.from_numpy(matrix).to(x.device) for matrix in matrices(weight.shape[-1]))
    out_channels, in_channels, kernel, _ = weight.shape
    core, points = SIDE - kernel + 1, len(of_piece)
    layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    result = torch.empty((len(x), out_channels, *x.shape[2:]), dtype=x.dtype, device=x.device, memory_format=layout)
    groups = list(_groups(x, result, dilation, of_piece, core))
    most = max(factors.shape[-1] for _, factors in groups)
    for channels in _blocks(out_channels, max(1, BLOCK // (points * max(in_channels, most)))):
        kernels = weight[channels].reshape(-1, kernel**2).t()
        kernels = (of_kernel @ kernels).view(points, -1, in_channels)
        for places, factors in groups:
            products = torch.bmm(kernels, factors)  # (points, out, pieces)
            cores = (back @ products.view(points, -1)).view(core, core, products.shape[1], -1)
            grids = [_grid(place.shape[1:], core) for place in places]
            for place, grid, part in zip(places, grids, cores.split([h * w for h, w in grids], dim=-1), strict=True):
                cells = part.unflatten(-1, grid).permute(2, 3, 0, 4, 1).flatten(3, 4).flatten(1, 2)
                place[channels] = cells[:, : place.shape[1], : place.shape[2]]  # (out, rows, columns)
    return result if bias is None else result.add_(bias.view(-1, 1, 1))


def _groups(
    x: Tensor, result: Tensor, dilation: int, of_piece: Tensor, core: int
) -> Iterator[tuple[list[Tensor], Tensor]]:
    """Yield the independent maps, several at a time: their views of `result`, and factors (points, in, pieces)."""
    places: list[Tensor] = []
    factors: list[Tensor] = []
    for n in range(len(x)):
        for row in range(min(dilation, x.shape[2])):
            for column in range(min(dilation, x.shape[3])):
                places.append(result[n, :, row::dilation, column::dilation])
                factors.append(_factors(x[n, :, row::dilation, column::dilation], of_piece, core))
                if sum(part.shape[-1] for part in factors) >= PIECES:
                    yield places, torch.cat(factors, dim=-1)
                    places, factors = [], []
    if places:
        yield places, torch.cat(factors, dim=-1)


def _factors(part: Tensor, of_piece: Tensor, core: int) -> Tensor:
    """(in, h, w) → (points, in, pieces)."""
    before = (SIDE - core) // 2
    (below, right) = (
        count * core + SIDE - core - before - size
        for count, size in zip(_grid(part.shape[1:], core), part.shape[1:], strict=True)
    )
    pieces = F.pad(part, (before, right, before, below)).unfold(1, SIDE, core).unfold(2, SIDE, core)
    pieces = pieces.permute(3, 4, 0, 1, 2).reshape(SIDE**2, -1)
    return (of_piece @ pieces).view(len(of_piece), len(part), -1)


def _grid(size: torch.Size, core: int) -> tuple[int, int]:
    rows, columns = size
    return -(-rows // core), -(-columns // core)


def _blocks(length: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, length, size))
