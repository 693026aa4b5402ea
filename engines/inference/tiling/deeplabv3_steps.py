"""One pass of DeepLabV3 over a whole image, in less memory.

Group norm and the image branch of the pyramid average over the whole image, so no halo makes a tile exact. But only the
first convolution works at half the image's resolution, where maps are largest. It runs in tiles, which are max-pooled
at once while their mean and variance are gathered; the pooled map is normalized afterwards. The result is the same: a
group norm and a ReLU keep the order of a channel's values or reverse it, and in the latter case the sign of the
channel's convolution is flipped. After the pooling, maps have at most 1/16 of the image's pixels and are kept whole;
the branches of the pyramid are summed one after the other instead of concatenated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.inference.tiling.execution import Devices, enlarge, run_in_memory
from engines.inference.tiling.grid import ReceptiveField, UniformBackground
from engines.inference.tiling.group_norm import Moments, normalise, rescale
from engines.inference.tiling.memory import on_meta
from engines.inference.tiling.steps import Run, Step, Store, bytes_taken, is_plain, measure
from nets import DeepLabV3
from nets.deeplabv3 import ASPP, BLOCKS, Residual
from nets.shared_copy import shared_copy

STEM_STRIDE = 4
SIDES = (128, 256)
"""Sides of the pooled maps on which the memory of the following layers is measured."""


@dataclass(frozen=True)
class MemoryNeeds:
    """Measured memory needs of the network.

    Attributes:
        stem: the part up to the first pooling.
        fixed: bytes that the maps after it take at any size.
        per_cell: further bytes per cell of the pooled map and image of the batch.
    """

    stem: Step
    fixed: float
    per_cell: float

    def memory(self, image: Tensor) -> float:
        """Return the bytes that the maps kept whole take for `image` (N, C, H, W)."""
        height, width = (-(-length // STEM_STRIDE) for length in image.shape[-2:])
        return self.fixed + self.per_cell * len(image) * height * width


def is_streamed(network: nn.Module) -> bool:
    """Return whether `network` is an unmodified DeepLabV3 of `nets`: nothing is added before or after its own pass."""
    return isinstance(network, DeepLabV3) and is_plain(network, DeepLabV3.forward)


def needs(network: DeepLabV3, image: Tensor) -> MemoryNeeds:
    """Measure the network for images with the number of channels and the dtype of `image` (N, C, H, W)."""
    meta_network = on_meta(network)
    stem = measure(meta_network, stem_of(meta_network), image.shape[1], image.dtype)
    stem = replace(stem, channels=(0, stem.channels[1]))  # the convolution's map is not kept
    behind = bytes_taken(lambda x: _behind_the_stem(meta_network, x), stem.channels[1], image.dtype, SIDES)
    return MemoryNeeds(stem, *behind)


def stem_of(network: DeepLabV3) -> Run:
    """Return a function for the first convolution, before its norm, and its pooling."""

    def run(x: Tensor) -> tuple[Tensor, ...]:
        y = network.conv1(x)
        return y, network.max_pool(y)

    return run


def run_streamed(network: DeepLabV3, measured: MemoryNeeds, image: Tensor, devices: Devices, skip_air: bool) -> Tensor:
    """Run the whole pass: (N, C, H, W) → see `execution.Result`; takes at least `measured.memory` bytes."""
    sign = torch.where(network.norm1.weight < 0, -1.0, 1.0)
    turned = shared_copy(network, lambda name, x: x * sign[:, None, None, None].to(x) if name == "conv1.weight" else x)
    step, moments = measured.stem, Moments()
    sizes = step.sizes(image.shape[-2:])
    pooled = Store([sizes[1]], devices.device, channels_last=True)

    def write(number: int, part: Tensor, at: tuple[slice, slice]) -> None:
        nonlocal moments
        if number == 0:
            if at[0].start == at[1].start == 0:  # the first tile; again after memory ran out, with smaller tiles
                moments = Moments()
            moments.add(part)
        else:
            pooled.write(0, part, at)

    run_in_memory(
        step, stem_of(turned), image, ReceptiveField(UniformBackground(image) if skip_air else None), devices, write
    )
    moments.mean = moments.mean * sign
    scale, shift = moments.scale_and_shift(network.norm1)
    (x,) = pooled.finished()
    scores = _behind_the_stem(network, rescale(x, scale * sign[:, None, None], shift))
    return enlarge(scores, network.output_stride, (image.shape[-2], image.shape[-1]), devices)


def _behind_the_stem(network: DeepLabV3, x: Tensor) -> Tensor:
    """(N, 64, H / 4, W / 4) → scores (N, out_channels, H / 8, W / 8), or 16."""
    for name, _ in BLOCKS:
        for unit in cast(nn.Sequential, network.get_submodule(name)):
            x = _residual(cast(Residual, unit), x)
    return cast(Tensor, network.scores(_pyramid(network.aspp, x)))


def _residual(unit: Residual, x: Tensor) -> Tensor:
    """`Residual.forward`."""
    y = unit.conv2(normalise(unit.norm1, unit.conv1(x)))
    if len(unit.shortcut):
        conv, norm = unit.shortcut
        x = normalise(cast(nn.GroupNorm, norm), conv(x), relu=False)
    return normalise(unit.norm2, y, add=x)


def _pyramid(aspp: ASPP, x: Tensor) -> Tensor:
    """`ASPP.forward` with a sum over the branches in place of the convolution of their concatenation."""
    project, last, _ = aspp.project
    weights = cast(nn.Conv2d, project).weight.chunk(len(aspp.atrous) + 2, dim=1)
    y = F.conv2d(aspp.image(x.mean(dim=(2, 3), keepdim=True)), weights[-1])  # (N, 256, 1, 1)
    for branch, weight in zip((aspp.point, *aspp.atrous), weights, strict=False):
        conv, norm, _ = cast(nn.Sequential, branch)
        y = F.conv2d(normalise(cast(nn.GroupNorm, norm), conv(x)), weight).add_(y)
    return normalise(cast(nn.GroupNorm, last), y)
