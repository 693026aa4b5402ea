"""One pass of DeepLabV3 over a whole image, in less memory.

Group norm and the image branch of its pyramid average over the whole image, so no halo makes a tile exact. But only
the first convolution works at half the image's resolution, where its maps are largest. It is run in tiles, twice: for
the mean and variance of each group, and again to be normalised and pooled. Behind it maps have 1/16 of the image's
pixels and less, and are kept whole; the branches of the pyramid are summed one after the other instead of joined side
by side.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.tiling_grid import Air, Sight
from engines.tiling_memory import peak_bytes
from engines.tiling_run import Place, enlarge, run_in_memory
from engines.tiling_steps import Store, measure
from nets import DeepLabV3
from nets.deeplabv3 import ASPP, BLOCKS, Residual

STEM_STRIDE = 4


class Moments:
    """Mean and variance of every channel of every image, gathered from the parts of a map (float64)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | None = None
        self.squares: Tensor | None = None

    def write(self, number: int, part: Tensor, at: tuple[slice, slice]) -> None:
        """Take in a part (N, C, h, w); Chan et al. (1979), "Updating formulae … for computing sample variances"."""
        part, count = part.float(), part.shape[-2] * part.shape[-1]
        middle = part.mean(dim=(2, 3), keepdim=True)  # this and the next many times faster than torch.var_mean
        mean, squares = middle[..., 0, 0].double(), (part - middle).square_().sum(dim=(2, 3)).double()
        if self.mean is None or self.squares is None:
            self.count, self.mean, self.squares = count, mean, squares
            return
        total = self.count + count
        step = mean - self.mean
        self.squares += squares + step.square() * (self.count * count / total)
        self.mean += step * (count / total)
        self.count = total

    def scale_and_shift(self, norm: nn.GroupNorm) -> tuple[Tensor, Tensor]:
        """What `norm` multiplies each channel with and what it then adds: (N, C, 1, 1) each, float32."""
        if self.mean is None or self.squares is None:
            raise ValueError("no part of the map was taken in")
        groups = (len(self.mean), norm.num_groups, -1)
        means, variances = self.mean.view(groups), (self.squares / self.count).view(groups)
        mean = means.mean(2, keepdim=True)
        variance = (variances + (means - mean).square()).mean(2, keepdim=True)
        scale = (variance + norm.eps).rsqrt().expand_as(means).reshape(self.mean.shape) * norm.weight.double()
        shift = norm.bias.double() - mean.expand_as(means).reshape(self.mean.shape) * scale
        return scale[..., None, None].float(), shift[..., None, None].float()


def memory_needed(network: DeepLabV3, image: Tensor) -> int:
    """Bytes that the maps kept whole take for `image`."""
    height, width = (-(-length // STEM_STRIDE) for length in image.shape[-2:])
    shape = (len(image), network.conv1.out_channels, height, width)

    def call(x: Tensor) -> Tensor:
        return _behind_the_stem(network, x)

    return peak_bytes(network, call, shape, image.dtype)


def run_streamed(network: DeepLabV3, image: Tensor, place: Place, skip_air: bool) -> Tensor:
    """The whole pass: (N, C, H, W) → see `engines.tiling_run.Result`; needs `memory_needed` at least."""
    network.check_input(image)
    sight = Sight(Air(image) if skip_air else None)
    moments = Moments()
    first = measure(network, lambda x: (network.conv1(x),), image.shape[1], image.dtype)
    run_in_memory(first, image, sight, place, moments.write)
    scale, shift = (value.to(place.device, image.dtype) for value in moments.scale_and_shift(network.norm1))

    def stem(x: Tensor) -> tuple[Tensor, ...]:
        y = network.conv1(x)
        images = slice(len(x))  # all of them, or fewer while the step is measured
        y = y.mul_(scale[images].to(y)).add_(shift[images].to(y)).relu_()
        return (network.max_pool(y),)

    step = measure(network, stem, image.shape[1], image.dtype)
    store = Store(step.sizes(image.shape[-2:]), place.device, channels_last=True)
    run_in_memory(step, image, sight, place, store.write)
    (x,) = store.finished()
    scores = _behind_the_stem(network, x)
    return enlarge(scores, network.output_stride, (image.shape[-2], image.shape[-1]), place)


def _behind_the_stem(network: DeepLabV3, x: Tensor) -> Tensor:
    """(N, 64, H / 4, W / 4) → scores (N, out_channels, H / 8, W / 8), or 16."""
    for name, _ in BLOCKS:
        for unit in cast(nn.Sequential, network.get_submodule(name)):
            x = _residual(cast(Residual, unit), x)
    return cast(Tensor, network.scores(_pyramid(network.aspp, x)))


def _residual(unit: Residual, x: Tensor) -> Tensor:
    """`Residual.forward`."""
    y = _normalised(unit.norm1, unit.conv1(x)).relu_()
    y = unit.conv2(y)
    y = _normalised(unit.norm2, y)
    if len(unit.shortcut):
        conv, norm = unit.shortcut
        x = _normalised(cast(nn.GroupNorm, norm), conv(x))
    return y.add_(x).relu_()


def _pyramid(aspp: ASPP, x: Tensor) -> Tensor:
    """`ASPP.forward` with the sum over the branches in place of the convolution of all of them side by side."""
    project, last, _ = aspp.project
    weights = cast(nn.Conv2d, project).weight.chunk(len(aspp.atrous) + 2, dim=1)
    y = F.conv2d(aspp.image(x.mean(dim=(2, 3), keepdim=True)), weights[-1])  # (N, 256, 1, 1)
    for branch, weight in zip((aspp.point, *aspp.atrous), weights, strict=False):
        conv, norm, _ = cast(nn.Sequential, branch)
        y = F.conv2d(_normalised(cast(nn.GroupNorm, norm), conv(x)).relu_(), weight).add_(y)
    return _normalised(cast(nn.GroupNorm, last), y).relu_()


def _normalised(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """`norm(x)`, written over `x` where it is float32.

    torch's kernel for channels last takes the variance as a difference of sums, and loses it where large parts of an
    image are air.
    """
    if x.dtype != torch.float32:
        return cast(Tensor, norm(x.contiguous()))
    moments = Moments()
    moments.write(0, x, (slice(None), slice(None)))
    scale, shift = moments.scale_and_shift(norm)
    return x.mul_(scale).add_(shift)
