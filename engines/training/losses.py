"""Losses: the paper's weighted cross-entropy (section 3.4), and losses for small lesions.

All take logits (N, C, H, W) and labels (N, 1, H, W) of any integer type, as MONAI engines pass them, and return a
scalar. Pixels of `ignore_label` and `VOID` change neither the loss nor any gradient; a batch without a valid pixel has
loss 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.losses import DiceLoss, FocalLoss, TverskyLoss
from torch import Tensor, nn

from engines.base.distributed import summed
from engines.base.loading import on_gpu
from engines.base.world import world_size
from transforms.dataset import VOID
from transforms.errors import UserError


class SegmentationLoss(nn.Module):
    """Base class of all losses: void pixels, class weights and the added Dice loss.

    Several logits (deep supervision) are given as a list, all of full size, the main output first: the loss is the mean
    of their losses, each with half the weight of the previous one.

    Args:
        weight: one weight per class; None weights all equally.
        ignore_label: the void label of the data set, if it has one.
        dice_weight: factor of MONAI's soft Dice loss (mean over the classes, the batch as one image) that is added.
        dice_class_weights: factor of each class's Dice loss before that mean; None means 1 for all.
    """

    def __init__(
        self,
        weight: Sequence[float] | None = None,
        ignore_label: int | None = None,
        dice_weight: float = 0.0,
        dice_class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.weight: Tensor | None
        self.register_buffer("weight", None if weight is None else torch.tensor(weight, dtype=torch.float32))
        self.class_weights = None if weight is None else [round(float(value), 6) for value in weight]
        self.ignore_label = ignore_label
        self.dice_weight = dice_weight
        self.dice_class_weights = None if dice_class_weights is None else [float(value) for value in dice_class_weights]
        self.dice = DiceLoss(
            to_onehot_y=True, softmax=True, batch=True, ignore_index=VOID, weight=self.dice_class_weights
        )

    @property
    def parameters_used(self) -> dict[str, Any]:
        """Plain values that, with the loss's name, define the computation."""
        used: dict[str, Any] = {"class_weights": self.class_weights, "dice_weight": float(self.dice_weight)}
        return used if self.dice_class_weights is None else {**used, "dice_class_weights": self.dice_class_weights}

    def forward(self, input: Tensor | Sequence[Tensor], target: Tensor) -> Tensor:
        """Return the scalar loss.

        Raises:
            UserError: the number of classes of the logits differs from that of the weights.
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
        classes = self._classes(target)
        if world_size() > 1:
            return self._with_dice(input, classes)
        void = (classes == VOID).all()
        if not on_gpu(input.device):
            return input.sum() * 0.0 if bool(void) else self._with_dice(input, classes)
        # Without reading `void`, for which the processor would wait for the GPU.
        some_class = 0 if self.weight is None else self.weight.argmax()
        return self._with_dice(input, classes.masked_fill(void, some_class)) * ~void

    def total_weight(self, target: Tensor) -> Tensor:
        """Return the sum of the weights of the valid pixels of labels (N, 1, H, W), over all processes."""
        classes = self._classes(target)
        valid = classes != VOID
        if self.weight is None:
            return summed(valid.sum().float())
        return summed((self.weight[classes.masked_fill(~valid, 0)] * valid).sum())

    def _classes(self, target: Tensor) -> Tensor:
        """Classes (N, H, W) of labels (N, 1, H, W), with void pixels as `VOID`."""
        classes = target.squeeze(1).long()
        if self.ignore_label is not None:
            classes = classes.masked_fill(classes == self.ignore_label, VOID)
        return classes

    def _with_dice(self, input: Tensor, classes: Tensor) -> Tensor:
        loss = self.loss(input, classes)
        return loss + self.dice_weight * self.dice(input, classes[:, None]) if self.dice_weight else loss

    def loss(self, input: Tensor, classes: Tensor) -> Tensor:
        """Return the loss without Dice, from logits (N, C, H, W) and classes (N, H, W) with void pixels as `VOID`."""
        raise NotImplementedError

    def weights_of(self, input: Tensor, classes: Tensor) -> Tensor:
        """Return the weights of the valid pixels of `classes`, as a vector."""
        weights = torch.ones(input.shape[1], device=input.device) if self.weight is None else self.weight
        return weights[classes[classes != VOID]]


class WeightedCrossEntropy(SegmentationLoss):
    """Cross-entropy per pixel (paper, section 3.4), averaged over the weights of the valid pixels.

    Learning rates are thereby comparable across networks and datasets.
    """

    def loss(self, input: Tensor, classes: Tensor) -> Tensor:
        """The weighted mean over the valid pixels, of all processes if there are several."""
        if world_size() == 1:
            return F.cross_entropy(input, classes, self.weight, ignore_index=VOID)
        part = F.cross_entropy(input, classes, self.weight, ignore_index=VOID, reduction="sum")
        return weighted_mean(part, self.weights_of(input, classes))


class WeightedFocal(SegmentationLoss):
    """MONAI's focal loss: cross-entropy times (1 - p)^gamma, p the probability of the true class (Lin et al. 2017).

    Averaged over the weights of the valid pixels: with `gamma` 0 it is `WeightedCrossEntropy`.

    Args:
        weight: see `SegmentationLoss`.
        ignore_label: see `SegmentationLoss`.
        dice_weight: see `SegmentationLoss`.
        gamma: the larger, the less well-classified pixels count.
    """

    def __init__(
        self,
        weight: Sequence[float] | None = None,
        ignore_label: int | None = None,
        dice_weight: float = 0.0,
        gamma: float = 2.0,
    ) -> None:
        super().__init__(weight, ignore_label, dice_weight)
        self.focal = FocalLoss(
            to_onehot_y=True, gamma=gamma, weight=weight, use_softmax=True, reduction="none", ignore_index=VOID
        )

    @property
    def parameters_used(self) -> dict[str, Any]:
        """Those of `SegmentationLoss`, and gamma."""
        return {**super().parameters_used, "gamma": self.focal.gamma}

    def loss(self, input: Tensor, classes: Tensor) -> Tensor:
        """The weighted mean over the valid pixels, of all processes if there are several."""
        return weighted_mean(self.focal(input, classes[:, None]).sum(), self.weights_of(input, classes))


class TopKCrossEntropy(SegmentationLoss):
    """Weighted cross-entropy of the hardest pixels only: the `share` of a batch's valid pixels with the highest loss.

    Averaged over the weights of these pixels: with `share` 1 it is `WeightedCrossEntropy`. The number of pixels is
    rounded up. Each of several processes takes its own share.

    Args:
        weight: see `SegmentationLoss`.
        ignore_label: see `SegmentationLoss`.
        dice_weight: see `SegmentationLoss`.
        share: above 0, at most 1.
    """

    def __init__(
        self,
        weight: Sequence[float] | None = None,
        ignore_label: int | None = None,
        dice_weight: float = 0.0,
        share: float = 0.1,
    ) -> None:
        super().__init__(weight, ignore_label, dice_weight)
        if not 0 < share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {share}")
        self.share = share

    @property
    def parameters_used(self) -> dict[str, Any]:
        """Those of `SegmentationLoss`, and the share."""
        return {**super().parameters_used, "share": self.share}

    def loss(self, input: Tensor, classes: Tensor) -> Tensor:
        """The weighted mean over the hardest pixels, of all processes if there are several."""
        costs = F.cross_entropy(input, classes, self.weight, ignore_index=VOID, reduction="none")[classes != VOID]
        hardest = costs.topk(math.ceil(self.share * len(costs)))
        return weighted_mean(hardest.values.sum(), self.weights_of(input, classes)[hardest.indices])


class FocalTversky(SegmentationLoss):
    """Mean over the classes of (1 - T)^gamma, T the Tversky index TP / (TP + alpha FP + beta FN) of soft counts.

    With `gamma` 1 it is MONAI's Tversky loss (Salehi et al. 2017); below 1 poorly segmented classes keep more of the
    gradient when others are nearly correct (Abraham & Khan 2019: 3/4). The batch counts as one image. Class weights do
    not apply: each class counts equally, regardless of its size.

    Args:
        ignore_label: see `SegmentationLoss`.
        dice_weight: see `SegmentationLoss`.
        alpha: weight of false positives.
        beta: weight of false negatives.
        gamma: exponent, above 0.
    """

    def __init__(
        self,
        ignore_label: int | None = None,
        dice_weight: float = 0.0,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 1.0,
    ) -> None:
        super().__init__(None, ignore_label, dice_weight)
        if gamma <= 0:
            raise ValueError(f"gamma must be above 0, got {gamma}")
        self.gamma = gamma
        self.tversky = TverskyLoss(
            to_onehot_y=True, softmax=True, alpha=alpha, beta=beta, batch=True, reduction="none", ignore_index=VOID
        )

    @property
    def parameters_used(self) -> dict[str, Any]:
        """Those of `SegmentationLoss`, and alpha, beta and gamma."""
        return {
            **super().parameters_used,
            "alpha": self.tversky.alpha,
            "beta": self.tversky.beta,
            "gamma": self.gamma,
        }

    def loss(self, input: Tensor, classes: Tensor) -> Tensor:
        """The mean over the classes."""
        missing: Tensor = self.tversky(input, classes[:, None])
        if self.gamma != 1:  # the slope of a root is infinite at 0
            missing = missing.clamp_min(torch.finfo(missing.dtype).eps) ** self.gamma
        return missing.mean()


def weighted_mean(total: Tensor, weights: Tensor) -> Tensor:
    """Return a sum of weighted costs divided by the sum of weights over all processes.

    Each process returns its part times the number of processes, since their average is taken next.
    """
    whole = summed(weights.sum())
    return total * world_size() / whole.clamp_min(torch.finfo(whole.dtype).tiny)
