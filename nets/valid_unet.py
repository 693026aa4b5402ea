"""U-Net without padding: section 2.2 and Table 4 of Khan et al., "Comparison of multiple deep models on
semantic segmentation for breast tumor detection"; after Ronneberger et al., "U-Net" (2015).

Every 3x3 convolution removes a border of one pixel: 572 x 572 in, the central 388 x 388 out.

Differences from the paper:
- Like the other networks, this one by default returns logits at the size of its input: it mirrors the image at
  its border, as Ronneberger et al. did. `padded=False` is the paper's network.
- "Each convolution or transposed convolution along the network is followed by" a ReLU: not `scores`, the
  class scores themselves.
- Table 4 describes only the encoder. The decoder is the original's: four times a 2x2 transposed convolution
  to half the channels, concatenation with the center of the encoder's map of the same level, and two
  convolutions.
- Table 4 lists 512 output channels for max_pool3 and 1024 for max_pool4; a pooling keeps its 256 and 512.
- No dropout: the paper does not mention it.
"""

from __future__ import annotations

from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nets import initialise
from nets.stages import StagedNetwork
from nets.vgg import scaled

CHANNELS = (64, 128, 256, 512, 1024)
"""Output channels of conv1_x … conv5_x (Table 4) and, in reverse order, of conv6_x … conv9_x."""
LOST = 92
"""Pixels by which the input exceeds the output on each side."""
STEP, SMALLEST = 16, 188
"""Valid input sizes are 188 + 16 k, such as 572: every pooling then has an even input size."""


class ValidUNet(StagedNetwork):
    """(N, in_channels, H, W) → logits (N, out_channels, H, W), for any H and W.

    With `padded=False` → logits (N, out_channels, H - 184, W - 184) of the center, for H and W of 188 + 16 k.

    Args:
        out_channels: number of classes.
        in_channels: channels of the image; the paper repeats grayscale to 3.
        width: factor on the hidden channel counts, which become multiples of 8; 1.0 is the paper.
        padded: mirror the image at its border, so that the output has the size of the image.

    Raises:
        ValueError: for a channel count below 1 or a width not above 0; in `forward` for an invalid size.

    Examples:
        >>> import torch
        >>> network = ValidUNet(out_channels=4, width=0.125, padded=False)
        >>> network(torch.zeros(1, 3, 236, 252)).shape
        torch.Size([1, 4, 52, 68])
    """

    stages: ClassVar[tuple[str, ...]] = ("unet",)

    def __init__(self, out_channels: int, in_channels: int = 3, width: float = 1.0, padded: bool = True) -> None:
        """Build and initialize all layers."""
        super().__init__(out_channels, in_channels)
        self.padded = padded
        widths = [scaled(channels, width) for channels in CHANNELS]
        for level, channels in enumerate(widths, start=1):
            self._add_pair(level, in_channels, channels)
            if level < len(widths):
                self.add_module(f"max_pool{level}", nn.MaxPool2d(2, stride=2))
            in_channels = channels
        for number, channels in enumerate(reversed(widths[:-1]), start=1):
            self.add_module(f"t_conv_{number}", nn.ConvTranspose2d(in_channels, channels, 2, stride=2))
            self._add_pair(5 + number, 2 * channels, channels)
            in_channels = channels
        self.scores = nn.Conv2d(in_channels, out_channels, 1)
        self._initialise()
        self.set_stage(self.stages[0])

    def _add_pair(self, number: int, in_channels: int, out_channels: int) -> None:
        self.add_module(f"conv{number}_1", nn.Conv2d(in_channels, out_channels, 3))
        self.add_module(f"conv{number}_2", nn.Conv2d(out_channels, out_channels, 3))

    def _initialise(self) -> None:
        for layer in self.children():
            if isinstance(layer, nn.Conv2d):
                initialise.he_normal(layer)
            elif isinstance(layer, nn.ConvTranspose2d):
                initialise.he_normal_transposed(layer)
        initialise.small(self.scores)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits at the size of the image, or of its center with `padded=False`."""
        self.check_input(x)  # (N, in_channels, H, W)
        height, width = x.shape[-2:]
        if self.padded:
            x = mirror(mirror(x, -2), -1)  # (N, in_channels, 188 + 16 k, 188 + 16 l)
        x = self.valid(x)  # (N, out_channels, 4 + 16 k, 4 + 16 l)
        return x[..., :height, :width] if self.padded else x

    def valid(self, x: Tensor) -> Tensor:
        """The paper's network: (N, in_channels, 188 + 16 k, 188 + 16 l) → (N, out_channels, 4 + 16 k, 4 + 16 l)."""
        skips: list[Tensor] = []
        for level in range(1, 5):
            skips.append(self._pair(level, x))
            x = self.get_submodule(f"max_pool{level}")(skips[-1])  # half the size
        x = self._pair(5, x)  # (N, 1024, h, w): 28 x 28 for 572 x 572
        for number in range(1, 5):
            x = F.relu(self.get_submodule(f"t_conv_{number}")(x), inplace=True)  # twice the size, half the channels
            x = torch.cat([centre(skips.pop(), x), x], dim=1)
            x = self._pair(5 + number, x)
        return cast(Tensor, self.scores(x))

    def check_input(self, x: Tensor) -> None:
        """Check as for every network; with `padded=False` every pooling must have an even input size."""
        super().check_input(x)
        if self.padded or torch.jit.is_tracing():  # type: ignore[attr-defined]
            return
        for size in x.shape[-2:]:
            if size < SMALLEST or (size - SMALLEST) % STEP:
                nearest = SMALLEST + STEP * max(0, -((SMALLEST - size) // STEP))
                raise ValueError(
                    f"without padding H and W must be {SMALLEST} + {STEP} k, got {tuple(x.shape[-2:])}; "
                    f"the next larger than {size} is {nearest}, or use padded=True"
                )

    def _pair(self, number: int, x: Tensor) -> Tensor:
        """Two convolutions, each with its ReLU: (N, C, h, w) → (N, C', h - 4, w - 4)."""
        for place in (1, 2):
            x = F.relu(self.get_submodule(f"conv{number}_{place}")(x), inplace=True)
        return x


def centre(x: Tensor, like: Tensor) -> Tensor:
    """Return the central part of `x` (N, C, h, w) with the height and width of `like`."""
    top = (x.shape[-2] - like.shape[-2]) // 2
    left = (x.shape[-1] - like.shape[-1]) // 2
    return x[..., top : top + like.shape[-2], left : left + like.shape[-1]]


def mirror(x: Tensor, dim: int) -> Tensor:
    """Extend `x` by its mirror image along `dim` to a valid size: LOST before it, LOST or more after it.

    The outermost line is repeated (symmetric padding); for a small `x` the image repeats.
    """
    size = x.shape[dim]
    steps = (size + 2 * LOST - SMALLEST + STEP - 1) // STEP
    return x.index_select(dim, mirrored(torch.arange(SMALLEST + STEP * steps, device=x.device) - LOST, size))


def mirrored(place: Tensor, size: int) -> Tensor:
    """Map integer positions before, in or after a line of `size` pixels to the mirrored positions in it."""
    place = torch.remainder(place, 2 * size)
    return torch.minimum(place, 2 * size - 1 - place)
