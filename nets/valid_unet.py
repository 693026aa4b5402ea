"""U-Net without padding: section 2.2 and Table 4 of Khan et al., "Comparison of multiple deep models on
semantic segmentation for breast tumor detection"; after Ronneberger et al., "U-Net" (2015).

Every 3x3 convolution takes a border of one pixel away: 572 x 572 in, the central 388 x 388 out.

Differences from the paper:
- The other networks return logits at the size of their input. So does this one by default: it mirrors the
  image at its border, as Ronneberger et al. did at the border of theirs. `padded=False` is the paper's
  network.
- "Each convolution or transposed convolution along the network is followed by" a ReLU: not `scores`, the
  class scores themselves.
- Table 4 describes the encoder alone. The decoder is the original's: four times a 2x2 transposed convolution
  to half the channels, the encoder's map of the same level cut to its center and concatenated, two
  convolutions.
- Table 4 gives max_pool3 512 and max_pool4 1024 output channels; a pooling keeps its 256 and 512.
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
"""Output channels of conv1_x … conv5_x (Table 4) and, backwards, of conv6_x … conv9_x."""
LOST = 92
"""Pixels that the input has more than the output on each side."""
STEP, SMALLEST = 16, 188
"""Legal input sizes are 188 + 16 k, 572 among them: there every pooling meets an even size."""


class ValidUNet(StagedNetwork):
    """(N, in_channels, H, W) → logits (N, out_channels, H, W), for any H and W.

    With `padded=False` → logits (N, out_channels, H - 184, W - 184) of the center, for H and W of 188 + 16 k.

    Args:
        out_channels: number of classes.
        in_channels: channels of the image; the paper repeats grayscale to 3.
        width: factor on the hidden channel counts, which become multiples of 8; 1.0 is the paper.
        padded: mirror the image at its border, so that the output has its size.

    Raises:
        ValueError: for a channel count below 1 or a width not above 0; in `forward` for an illegal size.

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
        """Logits at the size of the image, or of its center with `padded=False`."""
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
        """As for every network; with `padded=False` every pooling must meet an even size."""
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
    """The central part of `x` (N, C, h, w) that has the height and width of `like`."""
    top = (x.shape[-2] - like.shape[-2]) // 2
    left = (x.shape[-1] - like.shape[-1]) // 2
    return x[..., top : top + like.shape[-2], left : left + like.shape[-1]]


def mirror(x: Tensor, dim: int) -> Tensor:
    """`x` continued by its mirror image along `dim`: LOST before it, LOST or more behind it, to a legal size.

    The mirror stands at the edge, so that the outermost line comes twice, and for a small `x` the image
    repeats.
    """
    size = x.shape[dim]
    steps = (size + 2 * LOST - SMALLEST + STEP - 1) // STEP
    return x.index_select(dim, mirrored(torch.arange(SMALLEST + STEP * steps, device=x.device) - LOST, size))


def mirrored(place: Tensor, size: int) -> Tensor:
    """Where in a line of `size` pixels each `place` before, in or behind it lies in the mirror: whole numbers."""
    place = torch.remainder(place, 2 * size)
    return torch.minimum(place, 2 * size - 1 - place)
