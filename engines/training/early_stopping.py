"""Early stopping of a stage."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from ignite.handlers import EarlyStopping
from monai.engines import Trainer

from engines.scoring.lesion_classes import lesion_classes
from engines.scoring.metrics import metric_names
from engines.training.plan import Stage
from transforms.errors import UserError

LESION_DICE = "lesion_dice"
"""In place of a score's name: the Dice of the lesion class, regardless of its name."""


def monitored_score(monitor: str, class_names: Sequence[str], lesion_class: Any = None) -> str:
    """Return the name of the validation score that `monitor` denotes.

    Args:
        monitor: a score, or `LESION_DICE`.
        class_names: names of the classes, in order.
        lesion_class: see `engines.scoring.lesion_classes`.

    Raises:
        UserError: unknown score, or `LESION_DICE` without exactly one lesion class.
    """
    if monitor == LESION_DICE:
        names = [class_names[number] for number in lesion_classes(class_names, lesion_class)]
        if len(names) != 1:
            raise UserError(
                f"--monitor {LESION_DICE}: expected one class of lesions, found {', '.join(names) or 'none'} among "
                f"{', '.join(class_names)}; name it with --lesion_class, or give --monitor mean_dice"
            )
        return f"dice/{names[0]}"
    known = metric_names(list(class_names))
    if monitor not in known:
        raise UserError(f"--monitor {monitor}: unknown score; choose from {', '.join([*known, LESION_DICE])}")
    return monitor


def early_stopping(trainer: Trainer, monitor: str, patience: int, min_delta: float) -> EarlyStopping | None:
    """Return ignite's handler for the score `monitor`; None if `patience` is 0.

    Raises:
        UserError: a number is invalid.
    """
    if not isinstance(patience, int) or patience < 0 or min_delta < 0:
        raise UserError(f"patience and min_delta must be 0 or above, got {patience} and {min_delta}")
    if patience == 0:
        return None
    handler = EarlyStopping(patience, lambda engine: engine.state.metrics[monitor], trainer, threshold=min_delta)
    handler.logger.setLevel(logging.WARNING)  # the trainer logs this in more detail
    return handler


def without_effect(plan: Sequence[Stage], patience: int, val_interval: int) -> str | None:
    """Return one sentence about the stages that early stopping can never end early; None if there are none.

    A stage ends at its validation number `patience` + 1 at the earliest, since the first one sets the score to improve
    on; a later stage at number `patience`, since the weights it starts from are validated.

    Args:
        plan: stages in order.
        patience: in validations; 0 for no early stopping.
        val_interval: epochs between validations.
    """
    earliest = [val_interval * (patience + (number == 0)) for number in range(len(plan))]
    never = [stage for stage, epoch in zip(plan, earliest, strict=True) if patience and epoch >= stage.max_epochs]
    if not never:
        return None
    names = ", ".join(f"{stage.name} (max_epochs {stage.max_epochs})" for stage in never)
    return (
        f"--patience {patience} never ends these stages early: {names}; it counts validations, of which there is one "
        f"per {val_interval} epochs (--val_interval)"
    )
