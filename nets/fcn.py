"""FCN: section 2.1, Tables 2 and 3 of Khan et al., "Comparison of multiple deep models on semantic
segmentation for breast tumor detection"; after Long et al., "Fully convolutional networks for semantic
segmentation" (2015).

VGG16 with convolutions in place of its fully connected layers, down to 1/32 of the image. FCN32 enlarges its
class scores bilinearly; FCN16 learns the first doubling and adds the output of the fourth pooling, FCN8 learns
the second and adds the third pooling. They are trained one after the other.

Differences from the paper:
- "Each of the convolutional operations is followed by" a ReLU: not those whose output is class scores
  (`scores` and the skips), which could no longer be learned once cut at zero.
- "Transposed convolutions are followed by ReLU": kept, on scores raised by a per-pixel floor (see
  `nets.logit_floor`). Without the floor a negative score would be cut and FCN16 could not start where FCN32
  ended. `relu_after_transposed=False` leaves the ReLU out, as in the original.
- "Bilinear up-sampling" by 32 is done as 2, 2 and 8. The later stages replace the two doublings by transposed
  convolutions, which are initialized to them, so that each stage starts exactly where the previous one ended. A
  single step of 32 would differ: two linear interpolations in a row round the corners of one.
- SAME padding of a transposed convolution repeats the edge, as the bilinear resize does, instead of adding
  zeros.
- The text sums "the output of max_pool5" with "the output of max_pool4". Their channels differ (512 and
  num_classes in Table 3); as in the original, a 1x1 layer makes class scores of each pooling first
  (`score_pool4`, `score_pool3`). They start at zero.
- Dropout of 0.5 after `conv6_1` and `conv6_2`, as in the original; the paper does not mention it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nets import initialise
from nets.full_precision import full
from nets.logit_floor import logit_floor
from nets.resize import crop_to, upsample
from nets.stages import StagedNetwork
from nets.vgg import Conv, Pool, add_layers, apply_row, initialise_rows, run_rows, scaled

# Table 2. `scores` has one channel per class.
ENCODER: tuple[Conv | Pool, ...] = (
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
    Pool("max_pool4"),
    Conv("conv5_1", kernel=3, dilation=1, channels=512),
    Conv("conv5_2", kernel=3, dilation=1, channels=512),
    Conv("conv5_3", kernel=3, dilation=1, channels=512),
    Pool("max_pool5"),
    Conv("conv6_1", kernel=7, dilation=1, channels=4096),
    Conv("conv6_2", kernel=1, dilation=1, channels=4096),
    Conv("scores", kernel=1, dilation=1, channels=None),
)
PARTS = (ENCODER[:6], ENCODER[6:10], ENCODER[10:18], ENCODER[18:])
"""The encoder up to `max_pool2`, `max_pool3`, `max_pool5` and `scores`: see `FCN.tile_steps`."""
STRIDE = 8
DROPOUT_AFTER = ("conv6_1", "conv6_2")

# The decoder, Table 3 and the text: the layers that each stage adds.
KEPT = ("max_pool3", "max_pool4", "scores")
SKIPS = {"max_pool3": ("score_pool3", "fcn8"), "max_pool4": ("score_pool4", "fcn16")}
DECODER = {"fcn32": (), "fcn16": ("t_conv_1", "score_pool4"), "fcn8": ("t_conv_2", "score_pool3")}


class FCN(StagedNetwork):
    """(N, in_channels, H, W) → logits (N, out_channels, H, W), for any H and W.

    Each stage computes and trains the layers of the previous stage and those it adds: `fcn32` the encoder,
    `fcn16` `t_conv_1` and `score_pool4`, `fcn8` `t_conv_2` and `score_pool3`. All parameters exist in every
    stage, so that the checkpoint of one loads into the next.

    Args:
        out_channels: number of classes.
        in_channels: channels of the image; the paper repeats grayscale to 3.
        width: factor on the hidden channel counts, which become multiples of 8; 1.0 is the paper.
        stage: see above.
        dropout: probability after `conv6_1` and `conv6_2`.
        relu_after_transposed: the paper's ReLU after `t_conv_1` and `t_conv_2`.

    Raises:
        ValueError: for an unknown stage, a channel count below 1, a width not above 0 or a dropout outside
            [0, 1).

    Examples:
        >>> import torch
        >>> network = FCN(out_channels=4, width=0.125, stage="fcn16")
        >>> network(torch.zeros(1, 3, 50, 70)).shape
        torch.Size([1, 4, 50, 70])
    """

    tile_stride: ClassVar[int] = STRIDE
    stages: ClassVar[tuple[str, ...]] = ("fcn32", "fcn16", "fcn8")

    def __init__(
        self,
        out_channels: int,
        in_channels: int = 3,
        width: float = 1.0,
        stage: str = "fcn8",
        dropout: float = 0.5,
        relu_after_transposed: bool = True,
    ) -> None:
        """Build all layers, initialize them, and enter `stage`."""
        super().__init__(out_channels, in_channels, dropout)
        self.relu_after_transposed = relu_after_transposed
        add_layers(self, ENCODER, in_channels, out_channels, width)
        # Table 3. The padding cuts 1 for SAME, and 2 for the input's additional cell on each side (see _double).
        self.t_conv_1 = nn.ConvTranspose2d(out_channels, out_channels, 4, stride=2, padding=3)
        self.t_conv_2 = nn.ConvTranspose2d(out_channels, out_channels, 4, stride=2, padding=3)
        self.score_pool4 = nn.Conv2d(scaled(512, width), out_channels, 1)
        self.score_pool3 = nn.Conv2d(scaled(256, width), out_channels, 1)
        self._initialise()
        self.set_stage(stage)

    def _initialise(self) -> None:
        initialise_rows(self, ENCODER)
        for doubling in (self.t_conv_1, self.t_conv_2):
            initialise.bilinear(doubling)
        for skip in (self.score_pool4, self.score_pool3):
            initialise.zeros(skip)

    def trained_layers(self, stage: str) -> frozenset[str]:
        """Return the names of the encoder's layers, and of those added up to this stage."""
        added = [DECODER[name] for name in self.stages[: self.stages.index(stage) + 1]]
        return frozenset(row.name for row in ENCODER).union(*added)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of the current stage, at the size of the image."""
        self.check_input(x)  # (N, in_channels, H, W)
        maps = self.encode(x)  # 1/8, 1/16 and 1/32 of the image; the last: (N, out_channels, …)
        scores = full(partial(self.join, scored=False), *maps)
        return crop_to(upsample(scores, STRIDE), x)  # (N, out_channels, H, W)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Table 2: the image → the outputs of `max_pool3`, `max_pool4` and `scores`."""
        kept: dict[str, Tensor] = {}
        self._rows(ENCODER, x, kept)
        return kept["max_pool3"], kept["max_pool4"], kept["scores"]

    def join(self, pool3: Tensor, pool4: Tensor, y: Tensor, scored: bool = True) -> Tensor:
        """Run Table 3, up to scores (N, out_channels, …) at 1/8.

        Args:
            pool3: at 1/8, the output of `score_pool3` for `max_pool3`, or with `scored=False` `max_pool3` itself.
            pool4: at 1/16, likewise.
            y: `scores`, at 1/32.
            scored: see above. In stages without a skip only the size of its map matters.
        """
        sixteen, eight = self.stage != "fcn32", self.stage == "fcn8"
        y = self._double(y, pool4, self.t_conv_1 if sixteen else None)  # 1/16
        if sixteen:
            y = y + (pool4 if scored else self.score_pool4(pool4))
        y = self._double(y, pool3, self.t_conv_2 if eight else None)  # 1/8
        if eight:
            y = y + (pool3 if scored else self.score_pool3(pool3))
        return y

    def tile_steps(self) -> tuple[partial[tuple[Tensor, ...]], ...]:
        """Return Table 2 in consecutive parts, for tiling.

        Each part returns the scored skips for `join` first, and the input of the next part last.
        """
        return tuple(partial(self._part, table) for table in PARTS)

    def _part(self, table: Sequence[Conv | Pool], x: Tensor) -> tuple[Tensor, ...]:
        kept: dict[str, Tensor] = {}
        x = self._rows(table, x, kept)
        skips = []
        for pool, (layer, first) in SKIPS.items():
            if pool in kept and self.stages.index(self.stage) >= self.stages.index(first):
                skips.append(self.get_submodule(layer)(kept[pool]))
            elif pool in kept:
                skips.append(kept[pool][:, :0])  # only its size matters
        return (*skips, x)

    def _rows(self, table: Sequence[Conv | Pool], x: Tensor, kept: dict[str, Tensor]) -> Tensor:
        """Run the rows of `table` one after the other; store the maps that the decoder needs in `kept`."""
        for name, result in run_rows(table, x, self._row):
            x = result
            if name in KEPT:
                kept[name] = x
        return x

    def _row(self, row: Conv | Pool, x: Tensor) -> Tensor:
        x = apply_row(self, row, x)
        return F.dropout(x, self.dropout, training=self.training) if row.name in DROPOUT_AFTER else x

    def _double(self, scores: Tensor, like: Tensor, t_conv: nn.Module | None) -> Tensor:
        """Double scores (N, out_channels, h, w) and crop to the size of `like`; bilinearly without `t_conv`."""
        if t_conv is None:
            return crop_to(upsample(scores, 2), like)
        if not self.relu_after_transposed:
            return crop_to(t_conv(_repeat_edge(scores)), like)
        floor = logit_floor(scores)
        raised = F.relu(t_conv(_repeat_edge(scores - floor)), inplace=True)
        return crop_to(raised + upsample(floor, 2), like)


def _repeat_edge(x: Tensor) -> Tensor:
    """(N, C, h, w) → (N, C, h + 2, w + 2)."""
    if torch.compiler.is_dynamo_compiling():
        # torch 2.13 expects another memory layout of the gradient of F.pad than on a CPU, and aborts the training
        x = torch.cat([x[..., :1], x, x[..., -1:]], dim=-1)
        return torch.cat([x[..., :1, :], x, x[..., -1:, :]], dim=-2)
    return F.pad(x, (1, 1, 1, 1), mode="replicate")
