"""When a stage has had enough epochs."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ignite.handlers import EarlyStopping
from monai.engines import Trainer

from engines.scoring.metrics import metric_names
from transforms.errors import UserError


def early_stopping(
    trainer: Trainer, monitor: str, patience: int, min_delta: float, class_names: Sequence[str]
) -> EarlyStopping | None:
    """Ignite's handler, which looks at the score `monitor`; None if `patience` is 0.

    Raises:
        UserError: there is no such score, or a number cannot be.
    """
    known = metric_names(list(class_names))
    if monitor not in known:
        raise UserError(f"--monitor {monitor}: no such score; there are {', '.join(known)}")
    if not isinstance(patience, int) or patience < 0 or min_delta < 0:
        raise UserError(f"patience and min_delta must be 0 or above, got {patience} and {min_delta}")
    if patience == 0:
        return None
    handler = EarlyStopping(patience, lambda engine: engine.state.metrics[monitor], trainer, threshold=min_delta)
    handler.logger.setLevel(logging.WARNING)  # the trainer says it, with more
    return handler
