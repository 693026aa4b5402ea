"""Detection of divergence: the training ends at once, and no non-finite weights are saved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from engines.base.loading import on_gpu
from engines.training.plan import Stage
from nets.safe_load import not_finite
from transforms.errors import UserError

EVERY = 50
"""Maximum number of iterations between two checks of the losses of a GPU."""

FACTOR = 10.0
"""A loss this many times as large as at the start is a divergence."""


def loss_of(output: Any) -> Any:
    """Return the loss in a trainer's output, decollated by MONAI or not."""
    loss = (output[0] if isinstance(output, list) else output)["loss"]
    return loss.detach() if isinstance(loss, Tensor) else loss


class LossWatch:
    """Ends a diverging training: a loss of more than `FACTOR` times the first one, or times log C, is too much.

    log C is the cross-entropy of uniform guessing among C classes; losses with large factors start above it. The first
    loss is that of the training's first batch with a valid pixel, and is kept in checkpoints.

    On a CPU each loss is checked. Reading a loss from a GPU would stall it, so the GPU keeps the first loss, and the
    first that is too large, and these are read after every `EVERY` iterations and at the end of an epoch.

    Args:
        classes: number of classes.
    """

    def __init__(self, classes: int) -> None:
        self.least = math.log(max(2, classes))
        self.first = 0.0  # 0: not yet known
        self._kept: tuple[Tensor, Tensor, Tensor] | None = None  # first loss; iteration (0: none) and loss that is lost

    @property
    def limit(self) -> float:
        """The largest loss that is no divergence."""
        return FACTOR * max(self.least, self.first)

    def state(self) -> dict[str, Any]:
        """Return the entry for a checkpoint."""
        return {"first_loss": self.first}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Resume from a checkpoint with the entry of `state`; one of an earlier version lacks it."""
        self.first = float(saved.get("first_loss", 0.0))

    def look(self, loss: Tensor | float, stage: Stage, state: Any) -> None:
        """Check the loss of an iteration; `state` is the trainer's.

        Raises:
            UserError: this loss, or an earlier one of the epoch, is too large or NaN.
        """
        if not isinstance(loss, Tensor) or not on_gpu(loss.device):
            self._check(float(loss), state.iteration, stage, state.epoch)
            return
        now = loss.double()
        first, iteration, lost = self._kept or (torch.full_like(now, self.first), *torch.zeros_like(now).expand(2))
        if not self.first:
            first = torch.where((first == 0) & (now > 0) & (now < math.inf), now, first)
        found = ~(now <= FACTOR * first.clamp_min(self.least)) & (iteration == 0)
        iteration = torch.where(found, torch.full_like(now, state.iteration), iteration)
        self._kept = first, iteration, torch.where(found, now, lost)
        if state.iteration % EVERY == 0 or state.iteration % state.epoch_length == 0:
            self.first, number, value = torch.stack(self._kept).tolist()
            self._kept = None
            if number:
                self._check(value, int(number), stage, state.epoch)

    def _check(self, loss: float, iteration: int, stage: Stage, epoch: int) -> None:
        if not self.first and 0 < loss < math.inf:
            self.first = loss
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
