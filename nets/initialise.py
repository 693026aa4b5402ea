"""Initialization of the layers of every network. Each constructor ends in calls of these; nothing is left at a
default.

He et al., "Delving deep into rectifiers" (2015), for layers that a ReLU follows; Yu and Koltun, "Multi-scale
context aggregation by dilated convolutions" (2016), for the identity; Long et al., "Fully convolutional
networks" (2015), for bilinear transposed convolutions and zero skips.
"""

from __future__ import annotations

import torch
from torch import nn

SCORE_STD = 0.1
"""Standard deviation of a score layer's output, for inputs of unit mean square.

Cross entropy then starts at log(classes) + SCORE_STD² / 2, and the layers below still receive a gradient,
which a zero would keep from them.
"""


def zero_bias(layer: nn.Module) -> None:
    """Set the layer's bias, if it has one, to zero."""
    if isinstance(layer.bias, torch.Tensor):
        nn.init.zeros_(layer.bias)


def he_normal(conv: nn.Conv2d) -> None:
    """Weights N(0, 2 / fan_in), bias 0: keeps the mean square from one ReLU to the next."""
    nn.init.kaiming_normal_(conv.weight, mode="fan_in", nonlinearity="relu")
    zero_bias(conv)


def he_normal_transposed(conv: nn.ConvTranspose2d) -> None:
    """As he_normal, where kernel and stride are equal: each output then comes from one position of the input."""
    nn.init.normal_(conv.weight, std=(2 / conv.in_channels) ** 0.5)
    zero_bias(conv)


def small(conv: nn.Conv2d) -> None:
    """Weights N(0, SCORE_STD² / fan_in), bias 0: class scores that start close to, but not at, zero."""
    fan_in = conv.weight[0].numel()
    nn.init.normal_(conv.weight, std=SCORE_STD / fan_in**0.5)
    zero_bias(conv)


def plain_norm(norm: nn.GroupNorm) -> None:
    """Scale 1, shift 0."""
    nn.init.ones_(norm.weight)
    nn.init.zeros_(norm.bias)


def zeros(conv: nn.Conv2d) -> None:
    """Weights and bias 0: a skip connection that adds nothing until it is trained."""
    nn.init.zeros_(conv.weight)
    zero_bias(conv)


def identity(conv: nn.Conv2d) -> None:
    """Each output channel is the input channel of the same number, bias 0."""
    nn.init.dirac_(conv.weight)
    zero_bias(conv)


def bilinear(conv: nn.ConvTranspose2d) -> None:
    """Each channel is upsampled bilinearly by the stride, apart from the others; bias 0.

    The kernel is square, its side twice the stride: 4x4 at stride 2 gives (1, 3, 3, 1) / 4 along each axis.
    """
    side, stride = conv.kernel_size[0], conv.stride[0]
    if conv.kernel_size != (2 * stride, 2 * stride):
        raise ValueError(f"bilinear needs a kernel of twice the stride {stride}, got {conv.kernel_size}")
    distance = (torch.arange(side) - (side - 1) / 2).abs() / stride
    line = 1 - distance
    with torch.no_grad():
        conv.weight.zero_()
        for channel in range(min(conv.weight.shape[:2])):
            conv.weight[channel, channel] = torch.outer(line, line)
    zero_bias(conv)
