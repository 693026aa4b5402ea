"""Weighted cross-entropy (paper, section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.losses import DiceLoss
from torch import Tensor, nn

from engines.base.distributed import summed, world_size
from transforms.crops import VOID
from transforms.errors import UserError


class WeightedCrossEntropy(nn.CrossEntropyLoss):
    """Per-pixel cross-entropy, class c weighted by w = 1 - x/100 where x % of the training pixels are c.

    Takes logits (N, C, H, W) and labels (N, 1, H, W) of any integer type, as MONAI engines hand them over. The
    mean is over the weights of the valid pixels, so that learning rates are comparable across networks and data.
    Pixels of `ignore_label` and `VOID` count for nothing; a batch without a valid pixel has loss 0.

    Several logits (deep supervision) come as a list, full size first: the loss is the mean of theirs, each with half
    the weight of the one before.

    Args:
        weight: one weight per class; None weights all alike.
        ignore_label: the data set's void label, if it has one.
        dice_weight: how much of MONAI's soft Dice loss (mean over the classes, over the batch as one) is added; the
            paper has none.
    """

    def __init__(
        self, weight: Sequence[float] | None = None, ignore_label: int | None = None, dice_weight: float = 0.0
    ) -> None:
        super().__init__(None if weight is None else torch.tensor(weight, dtype=torch.float32), ignore_index=VOID)
        self.ignore_label = ignore_label
        self.dice_weight = dice_weight
        self.dice = DiceLoss(to_onehot_y=True, softmax=True, batch=True, ignore_index=VOID)

    def forward(self, input: Tensor | Sequence[Tensor], target: Tensor) -> Tensor:
        """Return the scalar loss.

        Raises:
            UserError: the logits have another number of classes than there are weights.
        """
        if not isinstance(input, Tensor):
            shares = [0.5**level for level in range(len(input))]
            losses = [share * self(logits, target) for share, logits in zip(shares, input, strict=True)]
            return torch.stack(losses).sum() / sum(shares)
        if self.weight is not None and len(self.weight) != input.shape[1]:
            raise UserError(
                f"the network returns {input.shape[1]} classes; the data set has {len(self.weight)}; have network_def "
                "take them from @num_classes"
            )
        classes = target.squeeze(1).long()
        if self.ignore_label is not None:
            classes = classes.masked_fill(classes == self.ignore_label, VOID)
        if world_size() == 1 and bool((classes == VOID).all()):
            return input.sum() * 0.0
        loss = self._cross_entropy(input, classes)
        return loss + self.dice_weight * self.dice(input, classes[:, None]) if self.dice_weight else loss

    def _cross_entropy(self, input: Tensor, classes: Tensor) -> Tensor:
        """Mean over the weights of the valid pixels, of all processes if there are several.

        Each process then returns its part times their number, as the average over the processes is taken next.
        """
        if world_size() == 1:
            return super().forward(input, classes)
        weights = torch.ones(input.shape[1], device=input.device) if self.weight is None else self.weight
        total = summed(weights[classes[classes != VOID]].sum())
        part = F.cross_entropy(input, classes, self.weight, ignore_index=VOID, reduction="sum")
        return part * world_size() / total.clamp_min(torch.finfo(total.dtype).tiny)
