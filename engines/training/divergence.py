"""Detection of divergence: the training ends at once, and no non-finite weights are saved."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from engines.training.plan import Stage
from nets.safe_load import not_finite
from transforms.errors import UserError


def check_loss(loss: float, classes: int, stage: Stage, state: Any) -> None:
    """Guessing evenly among C classes costs log C; ten times that is lost.

    Raises:
        UserError: the loss is more, or NaN.
    """
    if not loss <= 10 * math.log(max(2, classes)):
        raise UserError(
            f"the training diverges: loss {loss:.3g} in stage {stage.name}, epoch {state.epoch}, iteration "
            f"{state.iteration}; try a lower --learning_rate than {stage.learning_rate:g}"
        )


def check_weights(network: nn.Module, stage: Stage, epoch: int) -> None:
    """The step after the last loss may be the one that ruins the weights.

    Raises:
        UserError: a weight is NaN or infinite.
    """
    if unusable := not_finite(network.state_dict()):
        raise UserError(
            f"the training diverges: {len(unusable)} weights are NaN or infinite after epoch {epoch} of stage "
            f"{stage.name}, such as {unusable[0]}; try a lower --learning_rate than {stage.learning_rate:g}"
        )
