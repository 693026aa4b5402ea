"""DeepLabv3 on ResNet18: section 2.4 and Figure 1 of Khan et al., "Comparison of multiple deep models on
semantic segmentation for breast tumor detection"; after Chen et al., "Rethinking atrous convolution for
semantic image segmentation" (2017), He et al., "Deep residual learning" (2016), and Wu and He, "Group
normalization" (2018).

A residual network whose last blocks are dilated instead of strided, followed by parallel convolutions of several
dilations and the average over the image (ASPP), which are joined into class scores.

Differences from the paper:
- "The output size is only eight times smaller … and the output is 16 times smaller, and therefore only the
  final block contains dilated convolutions" describes the two choices of Chen et al. `output_stride=8` is the
  default, as the text says of blocks 3 and 4; `output_stride=16` is the other.
- For an image of 769 x 769 the paper states 96 x 96 before the ASPP; strides that round up give 97 x 97.
- "A ReLU follows all convolutions": in a residual block that of the second convolution comes after the sum, as in
  ResNet, and none follows the class scores.
- The ASPP is Chen et al.'s: 1x1 and three 3x3 convolutions of 256 channels with dilations 12, 24, 36 (6, 12,
  18 at output stride 16), the image average, and a 1x1 convolution of all of them to 256.
- Group normalization has 32 groups, the default of its authors, and fewer in proportion at smaller widths.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nets import initialise
from nets.dilated_conv import DilatedConv2d
from nets.full_precision import full
from nets.resize import crop_to, upsample
from nets.stages import StagedNetwork
from nets.vgg import same_conv, scaled

# Figure 1, 18 layers: (block, channels), of two residual units each.
BLOCKS = (("block1", 64), ("block2", 128), ("block3", 256), ("block4", 512))
STRIDES = {8: (1, 2, 1, 1), 16: (1, 2, 2, 1)}
DILATIONS = {8: (1, 1, 2, 4), 16: (1, 1, 1, 2)}
ASPP_DILATIONS = {8: (12, 24, 36), 16: (6, 12, 18)}
ASPP_CHANNELS = 256
GROUPS = 32


class DeepLabV3(StagedNetwork):
    """(N, in_channels, H, W) → logits (N, out_channels, H, W), for any H and W and, without batch norm, any N.

    Args:
        out_channels: number of classes.
        in_channels: channels of the image; the paper repeats grayscale to 3.
        width: factor on the hidden channel counts, which become multiples of 8; 1.0 is the paper.
        output_stride: 8 or 16, how many times smaller the features are than the image.

    Raises:
        ValueError: for another output stride, a channel count below 1 or a width not above 0.

    Examples:
        >>> import torch
        >>> network = DeepLabV3(out_channels=4, width=0.125)
        >>> network(torch.zeros(1, 3, 50, 70)).shape
        torch.Size([1, 4, 50, 70])
    """

    stages: ClassVar[tuple[str, ...]] = ("deeplabv3",)

    def __init__(self, out_channels: int, in_channels: int = 3, width: float = 1.0, output_stride: int = 8) -> None:
        """Build and initialize all layers."""
        super().__init__(out_channels, in_channels)
        if output_stride not in STRIDES:
            raise ValueError(f"output_stride must be one of {', '.join(map(str, STRIDES))}; got {output_stride}")
        self.output_stride = output_stride
        channels = scaled(64, width)
        self.conv1 = nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False)
        self.norm1 = group_norm(channels, width)
        self.max_pool = nn.MaxPool2d(3, stride=2, padding=1)
        for (name, hidden), stride, dilation in zip(
            BLOCKS, STRIDES[output_stride], DILATIONS[output_stride], strict=True
        ):
            first = Residual(channels, scaled(hidden, width), stride, dilation, width)
            channels = scaled(hidden, width)
            self.add_module(name, nn.Sequential(first, Residual(channels, channels, 1, dilation, width)))
        self.aspp = ASPP(channels, ASPP_DILATIONS[output_stride], width)
        self.scores = nn.Conv2d(scaled(ASPP_CHANNELS, width), out_channels, 1)
        self._initialise()
        self.set_stage(self.stages[0])

    def _initialise(self) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                initialise.he_normal(layer)
            elif isinstance(layer, nn.GroupNorm):
                initialise.plain_norm(layer)
        initialise.small(self.scores)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits at the size of the image."""
        self.check_input(x)  # (N, in_channels, H, W)
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)  # (N, 64, H / 2, W / 2)
        y = self.max_pool(y)  # (N, 64, H / 4, W / 4)
        for name, _ in BLOCKS:
            y = self.get_submodule(name)(y)
        y = self.aspp(y)  # (N, 256, H / 8, W / 8), or 16
        return crop_to(upsample(full(self.scores, y), self.output_stride), x)  # (N, out_channels, H, W)


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut: (N, in_channels, h, w) → (N, channels, h / stride, w / stride)."""

    def __init__(self, in_channels: int, channels: int, stride: int, dilation: int, width: float) -> None:
        """Build the unit; the shortcut is a 1x1 convolution where the shape changes, else the input."""
        super().__init__()
        self.conv1 = DilatedConv2d(
            in_channels, channels, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
        )
        self.norm1 = group_norm(channels, width)
        self.conv2 = same_conv(channels, channels, 3, dilation, bias=False)
        self.norm2 = group_norm(channels, width)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != channels:
            self.shortcut.append(nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False))
            self.shortcut.append(group_norm(channels, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of convolutions and shortcut, after a ReLU."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        return F.relu(y + self.shortcut(x), inplace=True)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: (N, channels, h, w) → (N, 256, h, w)."""

    def __init__(self, channels: int, dilations: tuple[int, ...], width: float) -> None:
        """Build one branch for the 1x1 convolution, for each dilation and for the image average."""
        super().__init__()
        hidden = scaled(ASPP_CHANNELS, width)
        self.point = normed_conv(channels, hidden, 1, 1, width)
        self.atrous = nn.ModuleList(normed_conv(channels, hidden, 3, rate, width) for rate in dilations)
        self.image = normed_conv(channels, hidden, 1, 1, width)
        self.project = normed_conv((2 + len(dilations)) * hidden, hidden, 1, 1, width)

    def forward(self, x: Tensor) -> Tensor:
        """Concatenate all branches, then join them by a 1x1 convolution."""
        image = self.image(x.mean(dim=(2, 3), keepdim=True))  # (N, 256, 1, 1)
        branches = [
            self.point(x),
            *(branch(x) for branch in self.atrous),
            image.expand(-1, -1, *x.shape[-2:]),
        ]
        return self.project(torch.cat(branches, dim=1))


def normed_conv(in_channels: int, channels: int, kernel: int, dilation: int, width: float) -> nn.Sequential:
    """Return convolution, group normalization and ReLU as one module."""
    conv = same_conv(in_channels, channels, kernel, dilation, bias=False)
    return nn.Sequential(conv, group_norm(channels, width), nn.ReLU(inplace=True))


def group_norm(channels: int, width: float) -> nn.GroupNorm:
    """Return group norm with 32 groups at width 1, else proportionally many: as many channels per group, if divisible.

    A single channel per group would set the image branch of the ASPP, a single pixel, to zero.
    """
    return nn.GroupNorm(math.gcd(channels, max(1, round(GROUPS * width))), channels)
