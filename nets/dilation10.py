"""Dilation10: section 2.3, Tables 5 and 6 of Khan et al., "Comparison of multiple deep models on semantic
segmentation for breast tumor detection"; after Yu and Koltun, "Multi-scale context aggregation by dilated
convolutions" (2016).

A VGG16 without its last two poolings, whose later convolutions are dilated instead (the front), then ten 3x3
convolutions between maps of class scores with growing dilation (the context module). Trained in three stages.

Differences from the paper:
- "A rectified linear unit follows all convolutions in the network": not `scores` and not the last context
  layer. Their output is the class scores; cut at zero, a class could no longer be learned once it is below.
- The context module starts as the identity, as in the original. To be it for negative scores too, with the
  ReLU between its layers, it works on scores raised by a per-pixel floor (see `nets.logit_floor`); the
  softmax does not see it. So the stage `context` starts exactly where `front` ended.
- Dropout of 0.5 after `conv6_1` and `conv6_2`, as in the original; the paper does not mention it. It is off
  while the front is frozen.
- The paper does not say how the scores get back to the size of the input: bilinearly, by 8.
- Table 6 differs from the original, whose dilations double up to 64 and whose last layer is 1x1. The table is
  the default; `context_dilations=ORIGINAL_CONTEXT` is the original.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from nets import initialise
from nets.full_precision import full
from nets.logit_floor import logit_floor
from nets.resize import crop_to, upsample
from nets.stages import StagedNetwork
from nets.vgg import Conv, Pool, add_layers, apply_row, conv, initialise_rows, run_rows, same_conv

# Table 5, whose dilated layers are called dil_conv5_1 … dil_conv6_1. `scores` has one channel per class.
FRONT: tuple[Conv | Pool, ...] = (
    Conv("conv1_1", kernel=3, dilation=1, channels=64),
    Conv("conv1_2", kernel=3, dilation=1, channels=64),
    Pool("max_pool1"),
    Conv("conv2_1", kernel=3, dilation=1, channels=128),
    Conv("conv2_2", kernel=3, dilation=1, channels=128),
    Pool("max_pool2"),
    Conv("conv3_1", kernel=3, dilation=1, channels=256),
    Conv("conv3_2", kernel=3, dilation=1, channels=256),
    Conv("conv3_3", kernel=3, dilation=1, channels=256),
    Pool("max_pool3"),
    Conv("conv4_1", kernel=3, dilation=1, channels=512),
    Conv("conv4_2", kernel=3, dilation=1, channels=512),
    Conv("conv4_3", kernel=3, dilation=1, channels=512),
    Conv("conv5_1", kernel=3, dilation=2, channels=512),
    Conv("conv5_2", kernel=3, dilation=2, channels=512),
    Conv("conv5_3", kernel=3, dilation=2, channels=512),
    Conv("conv6_1", kernel=7, dilation=4, channels=4096),
    Conv("conv6_2", kernel=1, dilation=1, channels=4096),
    Conv("scores", kernel=1, dilation=1, channels=None),
)
STRIDE = 8
PARTS = (FRONT[:6], FRONT[6:10], FRONT[10:16], FRONT[16:])
"""The front up to `max_pool2`, `max_pool3`, `conv5_3` and `scores`: see `Dilation10.tile_steps`."""
DROPOUT_AFTER = ("conv6_1", "conv6_2")

# Dilations of context1 … context10; 0 stands for a 1x1 kernel.
TABLE_6 = (1, 1, 2, 4, 8, 16, 16, 32, 1, 1)
ORIGINAL_CONTEXT = (1, 1, 2, 4, 8, 16, 32, 64, 1, 0)


class Dilation10(StagedNetwork):
    """(N, in_channels, H, W) → logits (N, out_channels, H, W), for any H and W.

    Stages: `front` computes and trains the front alone; `context` freezes the front, which then runs without
    dropout, and trains the context module; `global` trains both. All parameters exist in every stage, so that
    the checkpoint of one loads into the next.

    Args:
        out_channels: number of classes.
        in_channels: channels of the image; the paper repeats grayscale to 3.
        width: factor on the hidden channel counts, which become multiples of 8; 1.0 is the paper.
        stage: see above.
        dropout: probability after `conv6_1` and `conv6_2`.
        context_dilations: dilation of each context layer; 0 for a 1x1 kernel.

    Raises:
        ValueError: for an unknown stage, a channel count below 1, a width not above 0, a dropout outside
            [0, 1), or dilations that are not whole numbers from 0 up.

    Examples:
        >>> import torch
        >>> network = Dilation10(out_channels=4, width=0.125, stage="front")
        >>> network(torch.zeros(1, 3, 50, 70)).shape
        torch.Size([1, 4, 50, 70])
        >>> network.set_stage("context")  # the same weights, and the context module after them
        >>> sorted({name.split("_")[0] for name, p in network.named_parameters() if not p.requires_grad})[:2]
        ['conv1', 'conv2']
    """

    tile_stride: ClassVar[int] = STRIDE
    stages: ClassVar[tuple[str, ...]] = ("front", "context", "global")
    frozen_stages: ClassVar[frozenset[str]] = frozenset({"context"})

    def __init__(
        self,
        out_channels: int,
        in_channels: int = 3,
        width: float = 1.0,
        stage: str = "global",
        dropout: float = 0.5,
        context_dilations: Sequence[int] = TABLE_6,
    ) -> None:
        """Build all layers, initialize them, and enter `stage`."""
        super().__init__(out_channels, in_channels, dropout)
        if not context_dilations or any(d != int(d) or d < 0 for d in context_dilations):
            raise ValueError(f"context_dilations must be whole numbers from 0 up, got {context_dilations}")
        add_layers(self, FRONT, in_channels, out_channels, width)
        self.context_names = tuple(f"context{number}" for number in range(1, len(context_dilations) + 1))
        for name, dilation in zip(self.context_names, context_dilations, strict=True):
            kernel = 3 if dilation else 1
            self.add_module(name, same_conv(out_channels, out_channels, kernel, max(1, int(dilation))))
        self._initialise()
        self.set_stage(stage)

    def _initialise(self) -> None:
        initialise_rows(self, FRONT)
        for name in self.context_names:
            initialise.identity(conv(self, name))

    def trained_layers(self, stage: str) -> frozenset[str]:
        """The front in `front`, the context module in `context`, both in `global`."""
        front = frozenset(row.name for row in FRONT)
        context = frozenset(self.context_names)
        return {"front": front, "context": context, "global": front | context}[stage]

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the current stage, at the size of the image."""
        return self.after_frozen(self.frozen_output(x), x)

    def frozen_output(self, x: Tensor) -> Tensor:
        """The front, which the stage `context` does not train."""
        self.check_input(x)  # (N, in_channels, H, W)
        return self.front(x)  # (N, out_channels, ceil(H / 8), ceil(W / 8))

    def after_frozen(self, maps: Tensor, like: Tensor) -> Tensor:
        """The logits of the front's scores, at the size of `like`."""
        scores = full(self.join, maps)  # (N, out_channels, ceil(H / 8), ceil(W / 8))
        return crop_to(upsample(scores, STRIDE), like)  # (N, out_channels, H, W)

    def front(self, x: Tensor) -> Tensor:
        """Table 5: the image (N, in_channels, H, W) → scores (N, out_channels, ceil(H / 8), ceil(W / 8))."""
        return self._rows(FRONT, x)

    def join(self, scores: Tensor) -> Tensor:
        """What follows the front before the upsampling: nothing in the stage `front`, else the context module."""
        return scores if self.stage == "front" else self.context(scores)

    def tile_steps(self) -> tuple[partial[tuple[Tensor, ...]], ...]:
        """The front in consecutive parts, for tiling; it ends where a map is small enough to keep whole."""
        return tuple(partial(self._part, table) for table in PARTS)

    def _part(self, table: Sequence[Conv | Pool], x: Tensor) -> tuple[Tensor, ...]:
        return (self._rows(table, x),)

    def _rows(self, table: Sequence[Conv | Pool], x: Tensor) -> Tensor:
        for _, result in run_rows(table, x, self._row):
            x = result
        return x

    def _row(self, row: Conv | Pool, x: Tensor) -> Tensor:
        x = apply_row(self, row, x)
        if row.name in DROPOUT_AFTER:
            x = F.dropout(x, self.dropout, training=self.training and self.stage != "context")
        return x

    def context(self, scores: Tensor) -> Tensor:
        """Table 6: scores (N, out_channels, h, w) → scores of that shape; at the start, the same scores."""
        floor = logit_floor(scores)  # (N, 1, h, w)
        x = scores - floor
        for name in self.context_names[:-1]:
            x = F.relu(self.get_submodule(name)(x), inplace=True)
        return self.get_submodule(self.context_names[-1])(x) + floor
