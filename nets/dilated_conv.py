"""A 2-D convolution with the parameters and results of `nn.Conv2d`, without its slow cases.

`nn.Conv2d` (torch 2.13, oneDNN) is slow on a CPU in two cases when a large kernel meets a small map, as in fc6 of a
dilated VGG16 (512 → 4096 channels, 7x7, dilation 4):

1. Above 2**26 weights oneDNN has no fast gradient of the weights and falls back to its reference code: minutes for a
   step instead of seconds, dilated or not. Above this limit, `MAX_FAST_WEIGHTS`, the convolution is done here tap by
   tap: one matrix product per position of the kernel, over only those pixels whose neighbor at that position is inside
   the map. That is also less work, since no zeros of the padding are multiplied: at dilation 4 a 7x7 kernel finds 62 %
   of its neighbors in a map of 32x32 and 33 % in one of 16x16.
2. With a dilation as large as the map, some kernel rows never meet a pixel, but `nn.Conv2d` multiplies them anyway.
   They are cut off beforehand, on every device.

In a third case, a large kernel between many channels without gradients, a Fourier transform takes a fraction of the
work (`nets.fourier_conv`). On a GPU, dilated kernels larger than 3x3 are slow: they become dense ones
(`nets.phase_conv`).

Everything else is passed to `nn.Conv2d`, and so is everything while the network is traced or exported, and on a CPU
while it is compiled: the choice depends on the size of the map, and a graph must serve all sizes.

`python -m scripts.benchmark dilated-conv` measures both cases. On a CPU, splitting the map into its dilation² phases,
im2col and blocks of output channels were measured, too; none was faster than the better of the two methods kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nets.fourier_conv import fourier_conv, pays
from nets.phase_conv import phase_conv

_is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)  # torch 2.6 does not have it

MAX_FAST_WEIGHTS = 2**26
"""Maximum number of weights with a fast gradient in oneDNN: 2672 output channels of fc6 take 0.5 s, 2680 take 17 s."""


class DilatedConv2d(nn.Conv2d):
    """`nn.Conv2d` with the same arguments, parameters and state, and the same results to rounding.

    (N, in_channels, H, W) → (N, out_channels, H', W'). The fast methods need stride 1, one group, and zero padding that
    keeps the size (odd kernels, padding = dilation * (kernel - 1) / 2). Other arguments work as in `nn.Conv2d`.

    The tap-by-tap method is differentiable once, not twice.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of `input`."""
        if not self._keeps_size() or input.dim() != 4 or _is_recorded():
            return super().forward(input)
        if self._is_slow_on_gpu(input):
            return phase_conv(input, self.weight, self.bias, self.dilation[0])
        if torch.compiler.is_compiling():
            return super().forward(input)
        if self._takes_less_by_fourier(input):
            return fourier_conv(input, self.weight, self.bias, self.dilation[0])
        if self._is_beyond_the_cliff(input):
            return _ByTaps.apply(input, self.weight, self.bias, self.dilation)
        cut = [
            max(0, kernel // 2 - (size - 1) // dilation)
            for kernel, size, dilation in zip(self.kernel_size, input.shape[2:], self.dilation, strict=True)
        ]
        if not any(cut):
            return super().forward(input)
        return self._without_outer_taps(input, *cut)

    def _keeps_size(self) -> bool:
        same = tuple(d * (k - 1) // 2 for d, k in zip(self.dilation, self.kernel_size, strict=True))
        odd = all(k % 2 for k in self.kernel_size)
        return (
            odd
            and self.padding in (same, "same")
            and self.stride == (1, 1)
            and self.groups == 1
            and self.padding_mode == "zeros"
        )

    def _is_slow_on_gpu(self, input: Tensor) -> bool:
        is_square = len({*self.dilation}) == 1
        return input.device.type == "cuda" and is_square and self.dilation[0] > 1 and min(self.kernel_size) > 3

    def _takes_less_by_fourier(self, input: Tensor) -> bool:
        needed = torch.is_grad_enabled() and (input.requires_grad or self.weight.requires_grad)
        return (
            not needed
            and input.device.type in ("cpu", "meta")  # on the meta device memory is counted
            and input.dtype == self.weight.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and len({*self.kernel_size}) == len({*self.dilation}) == 1
            and pays(input, self.weight, self.dilation[0])
        )

    def _is_beyond_the_cliff(self, input: Tensor) -> bool:
        return (
            self.weight.numel() > MAX_FAST_WEIGHTS
            and input.device.type == "cpu"
            and input.dtype == self.weight.dtype == torch.float32
            and self.weight.requires_grad
            and torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
        )

    def _without_outer_taps(self, input: Tensor, rows: int, columns: int) -> Tensor:
        """Return the convolution without the outermost `rows` and `columns` of the kernel, which see only zeros."""
        height, width = self.kernel_size
        weight = self.weight[:, :, rows : height - rows, columns : width - columns]
        padding = [d * (k - 1) // 2 for d, k in zip(self.dilation, weight.shape[2:], strict=True)]
        return F.conv2d(input, weight, self.bias, padding=padding, dilation=self.dilation)


def _is_recorded() -> bool:
    """Return whether this call is being traced or exported."""
    return bool(torch.jit.is_tracing() or _is_exporting())  # type: ignore[attr-defined]


class _ByTaps(torch.autograd.Function):
    """A convolution of stride 1 that keeps the size, as one matrix product per position of the kernel.

    Maps are kept as (C, N, H, W) and weights as (kernel row, kernel column, out, in), so that each product is of whole
    matrices.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, dilation: tuple[int, int]) -> Tensor:
        """(N, in, H, W) → (N, out, H, W)."""
        x = x.transpose(0, 1).contiguous()
        out_channels, in_channels, *kernel = weight.shape
        taps = weight.reshape(out_channels * in_channels, -1).t().contiguous()  # (positions, out * in)
        taps = taps.view(*kernel, out_channels, in_channels)
        result = x.new_zeros(x.shape[1], out_channels, *x.shape[2:])  # no view: a ReLU may change it in place
        if bias is not None:
            result += bias.view(-1, 1, 1)
        y = result.transpose(0, 1)
        for tap, here, there in _places(kernel, x.shape[2:], dilation):
            seen = x[there]
            y[here] += (taps[tap] @ seen.reshape(in_channels, -1)).view(out_channels, *seen.shape[1:])
        ctx.save_for_backward(x, taps)
        ctx.dilation, ctx.has_bias = dilation, bias is not None
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        """Return the gradients of image, weight and bias, as far as needed."""
        x, taps = ctx.saved_tensors
        *kernel, out_channels, in_channels = taps.shape
        gradient = gradient.transpose(0, 1).contiguous()
        of_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        of_taps = torch.zeros_like(taps)
        for tap, here, there in _places(kernel, x.shape[2:], ctx.dilation):
            seen, arriving = x[there], gradient[here].reshape(out_channels, -1)
            if of_x is not None:
                of_x[there] += (taps[tap].t() @ arriving).view(seen.shape)
            torch.mm(arriving, seen.reshape(in_channels, -1).t(), out=of_taps[tap])
        of_weight = of_taps.view(-1, out_channels * in_channels).t().contiguous()
        return (
            None if of_x is None else of_x.transpose(0, 1).contiguous(),
            of_weight.view(out_channels, in_channels, *kernel),
            gradient.sum((1, 2, 3)) if ctx.has_bias else None,
            None,
        )


_Index = tuple[Any, ...]


def _places(
    kernel: list[int], size: tuple[int, ...] | torch.Size, dilation: tuple[int, int]
) -> Iterator[tuple[tuple[int, int], _Index, _Index]]:
    """Yield, per kernel position that meets the map, the position, the output pixels and the input pixels they see.

    The last two index (C, N, H, W).
    """
    rows, columns = (list(_along(*axis)) for axis in zip(kernel, size, dilation, strict=True))
    for row, here_row, there_row in rows:
        for column, here_column, there_column in columns:
            yield (row, column), (..., here_row, here_column), (..., there_row, there_column)


def _along(kernel: int, size: int, dilation: int) -> Iterator[tuple[int, slice, slice]]:
    for place in range(kernel):
        shift = (place - kernel // 2) * dilation
        if abs(shift) < size:
            here = slice(max(0, -shift), size - max(0, shift))
            there = slice(max(0, shift), size + min(0, shift))
            yield place, here, there
