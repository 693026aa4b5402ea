"""Learning-rate schedules as functions of the epoch: a resumed training needs no scheduler state."""

from __future__ import annotations

import math

from engines.training.plan import Stage
from transforms.errors import UserError

SCHEDULES = ("piecewise", "cosine")


def check_schedule(schedule: str) -> None:
    """Raise UserError if the schedule is unknown."""
    if schedule not in SCHEDULES:
        raise UserError(f"--lr_schedule {schedule}: unknown; choose from {', '.join(SCHEDULES)}")


def rate_of_epoch(stage: Stage, epoch: int, schedule: str, drop_factor: float, drop_period: int) -> float:
    """Return the learning rate of an epoch, counted from 1, of a stage.

    "piecewise" (paper, Table 8) multiplies it by `drop_factor` every `drop_period` epochs; "cosine" decreases it along
    half a cosine, from its full value in the first epoch to nearly 0 in the last. Both restart with fine-tuning.
    """
    rate, epochs = stage.learning_rate, stage.crop_epochs
    if stage.fine_tuning is not None and epoch > stage.crop_epochs:
        rate, epoch, epochs = stage.fine_tuning.learning_rate, epoch - epochs, stage.max_epochs - epochs
    if schedule == "cosine":
        return 0.5 * rate * (1 + math.cos(math.pi * (epoch - 1) / epochs))
    return rate * drop_factor ** ((epoch - 1) // drop_period)
