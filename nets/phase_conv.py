"""A dilated convolution as dense convolutions of the map's phases, for a GPU.

With dilation d a kernel combines every d-th row and column, so the d² maps of every d-th cell are independent, and each
is convolved by the same kernel without dilation. cuDNN is fast for dense kernels in every number format and layout, but
not for large dilated ones: fc6 of a dilated VGG16 in bf16 takes 16 times longer dilated (docs/results.md).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def phase_conv(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    """Return `F.conv2d` of stride 1 with zero padding that keeps the size, for odd kernels.

    (N, in, H, W) → (N, out, H, W), stored with channels last.
    """
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    phases = F.conv2d(_split(x, dilation), weight, bias, padding=padding)
    return _joined(phases, dilation, len(x))[:, :, : x.shape[2], : x.shape[3]]


def _split(x: Tensor, d: int) -> Tensor:
    """(N, C, H, W) → (N * d², C, ceil(H / d), ceil(W / d)), beyond the map zeros."""
    x = F.pad(x, (0, -x.shape[3] % d, 0, -x.shape[2] % d))
    n, c, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(n, h // d, d, w // d, d, c).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(n * d * d, h // d, w // d, c).permute(0, 3, 1, 2)


def _joined(phases: Tensor, d: int, n: int) -> Tensor:
    """(N * d², C, h, w) → (N, C, h * d, w * d)."""
    _, c, h, w = phases.shape
    x = phases.permute(0, 2, 3, 1).reshape(n, d, d, h, w, c).permute(0, 3, 1, 4, 2, 5)
    return x.reshape(n, h * d, w * d, c).permute(0, 3, 1, 2)
