"""Gradients of a batch that is computed in several forward passes."""

from __future__ import annotations

from typing import Any

import torch
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys
from torch import Tensor


class BatchGradients:
    """Handler that makes the gradients which a MONAI trainer accumulates those of the whole batch.

    MONAI averages the losses of `accumulation_steps` passes, each a mean over its own pixels, and divides the last
    batch of an epoch by that number, too, if it has fewer passes. Here each pass counts with the sum of the weights of
    its valid pixels (`SegmentationLoss.total_weight`; other losses: with its number of crops). For losses that are
    weighted means over pixels (cross-entropy, focal), that is the gradient of the batch in one pass. Dice, Tversky and
    top-k losses are no such means: theirs is the mean of the passes' losses, weighted likewise.

    The losses in `trainer.state.output` remain those of the passes.
    """

    def __init__(self) -> None:
        self._total = torch.zeros(())
        self._loss = torch.zeros(())

    def attach(self, trainer: SupervisedTrainer) -> None:
        """Follow a trainer; nothing changes if it does not accumulate gradients."""
        trainer.add_event_handler(IterationEvents.LOSS_COMPLETED, self._weight)
        trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self._restore)

    def _weight(self, trainer: SupervisedTrainer) -> None:
        """Scale earlier gradients of the batch and this pass's loss by their shares of the weights so far."""
        self._loss = trainer.state.output[CommonKeys.LOSS]
        if trainer.accumulation_steps == 1:
            return
        done = (trainer.state.iteration - 1) % trainer.state.epoch_length % trainer.accumulation_steps
        weight = _weight_of(trainer.loss_function, trainer.state.output[CommonKeys.LABEL])
        self._total = self._total + weight if done else weight
        share = weight / self._total.clamp_min(torch.finfo(weight.dtype).tiny)
        if done:
            with torch.no_grad():
                for group in trainer.optimizer.param_groups:
                    for parameter in group["params"]:
                        if parameter.grad is not None:
                            parameter.grad.mul_(1 - share)
        trainer.state.output[CommonKeys.LOSS] = self._loss * (share * trainer.accumulation_steps)

    def _restore(self, trainer: SupervisedTrainer) -> None:
        trainer.state.output[CommonKeys.LOSS] = self._loss


def _weight_of(loss: Any, labels: Tensor) -> Tensor:
    known = getattr(loss, "total_weight", None)
    return torch.tensor(float(len(labels)), device=labels.device) if known is None else known(labels)
