"""Group normalization of maps that are large, or available only in parts.

torch's own kernel for channels last computes the variance as a difference of sums, and loses it where large parts of an
image are background. Here it is computed about the mean, in bands of rows that stay in the processor's cache; there,
too, a map is normalized in place.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BAND = 2**17
"""Values in a band on the CPU: half a megabyte."""


class Moments:
    """Mean and variance of every channel of every image, gathered from the parts of a map (float64).

    Attributes:
        count: cells included.
        mean: (N, C).
        squares: (N, C), sums of the squared distances from the mean.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.squares = torch.zeros(())

    def add(self, part: Tensor) -> None:
        """Include a part (N, C, h, w); Chan et al. (1979), "Updating formulae … for computing sample variances"."""
        means, squares, counts = [], [], []
        for band in bands(part):
            values = band if band.dtype == torch.float64 else band.float()
            middle = values.mean(
                dim=(2, 3), keepdim=True
            )  # this and the next line are many times faster than torch.var_mean
            means.append(middle[..., 0, 0])
            squares.append((values - for_row(middle, values)).square_().sum(dim=(2, 3)))
            counts.append(band.shape[-2] * band.shape[-1])
        of_bands = torch.tensor(counts, dtype=torch.float64, device=part.device).view(-1, 1, 1)
        all_means, count = torch.stack(means).double(), sum(counts)
        mean = (of_bands * all_means).sum(0) / count
        inside = (torch.stack(squares).double() + of_bands * (all_means - mean).square()).sum(0)
        if self.count:
            total = self.count + count
            step = mean - self.mean
            inside += self.squares + step.square() * (self.count * count / total)
            mean = self.mean + step * (count / total)
        self.count, self.mean, self.squares = self.count + count, mean, inside

    def scale_and_shift(self, norm: nn.GroupNorm) -> tuple[Tensor, Tensor]:
        """Return the factor and the offset that `norm` applies to each channel: (N, C, 1, 1) each, float64."""
        if not self.count:
            raise ValueError("no part of the map was added")
        groups = (len(self.mean), norm.num_groups, -1)
        means, variances = self.mean.view(groups), (self.squares / self.count).view(groups)
        mean = means.mean(2, keepdim=True)
        variance = (variances + (means - mean).square()).mean(2, keepdim=True)
        scale = (variance + norm.eps).rsqrt().expand_as(means).reshape(self.mean.shape) * norm.weight.double()
        shift = norm.bias.double() - mean.expand_as(means).reshape(self.mean.shape) * scale
        return scale[..., None, None], shift[..., None, None]


def normalise(norm: nn.GroupNorm, x: Tensor, add: Tensor | None = None, relu: bool = True) -> Tensor:
    """Return `norm(x)` plus `add`, after a ReLU; overwrites `x` if it is float32."""
    if x.dtype != torch.float32:
        y = norm(x.contiguous())
        y = y if add is None else y.add_(add)
        return y.relu_() if relu else y
    moments = Moments()
    moments.add(x)
    return rescale(x, *moments.scale_and_shift(norm), add, relu)


def rescale(x: Tensor, scale: Tensor, shift: Tensor, add: Tensor | None = None, relu: bool = True) -> Tensor:
    """Overwrite `x` with `scale` * `x` + `shift` + `add`, after a ReLU."""
    scale, shift = (for_row(factor.to(x), x) for factor in (scale, shift))
    for band, more in zip(bands(x), bands(x if add is None else add), strict=True):
        torch.addcmul(shift, band, scale, out=band)
        if add is not None:
            band.add_(more)
        if relu:
            band.relu_()
    return x


def for_row(values: Tensor, x: Tensor) -> Tensor:
    """Repeat the values of each channel, (N, C, 1, 1), along a row of `x` if that is channels last: (N, C, 1, w).

    torch then processes a whole row in one loop, instead of eight channels: four times faster for so few.
    """
    if x.device.type != "cpu" or x.stride(1) != 1 or x.stride(3) != x.shape[1]:
        return values
    return values.expand(-1, -1, 1, x.shape[-1]).contiguous(memory_format=torch.channels_last)


def bands(x: Tensor) -> tuple[Tensor, ...]:
    """Split `x` (N, C, h, w) into bands of rows that fit into the cache; a single band on other devices."""
    if x.device.type != "cpu":
        return (x,)
    return x.split(max(1, BAND * x.shape[2] // max(1, x.numel())), dim=2)
