"""How the learning rate falls from epoch to epoch, as a formula: a resumed training needs no scheduler state."""

from __future__ import annotations

import math

from engines.training.plan import Stage
from transforms.errors import UserError

SCHEDULES = ("piecewise", "cosine")


def check_schedule(schedule: str) -> None:
    """Raise UserError unless there is such a schedule."""
    if schedule not in SCHEDULES:
        raise UserError(f"--lr_schedule {schedule}: there is no such; there are {', '.join(SCHEDULES)}")


def rate_of_epoch(stage: Stage, epoch: int, schedule: str, drop_factor: float, drop_period: int) -> float:
    """Learning rate of an epoch, counted from 1, of a stage.

    "piecewise" (paper, Table 8) multiplies it by `drop_factor` every `drop_period` epochs; "cosine" lets it fall along
    half a cosine, from its full value in the first epoch to nearly 0 in the last.
    """
    if schedule == "cosine":
        return 0.5 * stage.learning_rate * (1 + math.cos(math.pi * (epoch - 1) / stage.max_epochs))
    return stage.learning_rate * drop_factor ** ((epoch - 1) // drop_period)
