"""Detection of divergence: the training ends at once, and no non-finite weights are saved."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from engines.base.loading import on_gpu
from engines.training.plan import Stage
from nets.safe_load import not_finite
from transforms.errors import UserError

EVERY = 50
"""Maximum number of iterations between two checks of the losses of a GPU."""


def loss_of(output: Any) -> Any:
    """Return the loss in a trainer's output, decollated by MONAI or not."""
    loss = (output[0] if isinstance(output, list) else output)["loss"]
    return loss.detach() if isinstance(loss, Tensor) else loss


class LossWatch:
    """Ends a diverging training: uniform guessing among C classes costs log C; ten times that is too much.

    On a CPU each loss is checked. Reading a loss from a GPU would stall it, so the GPU keeps the first loss that is too
    large, and this is read after every `EVERY` iterations and at the end of an epoch.

    Args:
        classes: number of classes.
    """

    def __init__(self, classes: int) -> None:
        self.limit = 10 * math.log(max(2, classes))
        self._first: Tensor | None = None  # iteration and loss, on the loss's device; iteration 0 means none

    def look(self, loss: Tensor | float, stage: Stage, state: Any) -> None:
        """Check the loss of an iteration; `state` is the trainer's.

        Raises:
            UserError: this loss, or an earlier one of the epoch, is too large or NaN.
        """
        if not isinstance(loss, Tensor) or not on_gpu(loss.device):
            self._check(float(loss), state.iteration, stage, state.epoch)
            return
        now = loss.double()
        found = torch.stack([torch.full_like(now, state.iteration), now])
        first = torch.zeros_like(found) if self._first is None else self._first
        self._first = torch.where(~(now <= self.limit) & (first[0] == 0), found, first)
        if state.iteration % EVERY == 0 or state.iteration % state.epoch_length == 0:
            iteration, lost = self._first.tolist()
            self._first = None
            if iteration:
                self._check(lost, int(iteration), stage, state.epoch)

    def _check(self, loss: float, iteration: int, stage: Stage, epoch: int) -> None:
        if not loss <= self.limit:
            raise UserError(
                f"the training diverges: loss {loss:.3g} in stage {stage.name}, epoch {epoch}, iteration {iteration}; "
                f"try a lower --learning_rate than {stage.learning_rate:g}"
            )


def check_weights(network: nn.Module, stage: Stage, epoch: int) -> None:
    """Check the weights, which the step after the last loss may have ruined.

    Raises:
        UserError: a weight is NaN or infinite.
    """
    if unusable := not_finite(network.state_dict()):
        raise UserError(
            f"the training diverges: {len(unusable)} weights are NaN or infinite after epoch {epoch} of stage "
            f"{stage.name}, such as {unusable[0]}; try a lower --learning_rate than {stage.learning_rate:g}"
        )
