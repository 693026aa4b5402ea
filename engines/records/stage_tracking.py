"""Logging of each epoch's numbers to the MLflow run of its stage."""

from __future__ import annotations

from ignite.engine import Engine, Events

from engines.records.mlflow_run import Tracking


class StageTrackingHandler:
    """Logs each epoch of the trainer (loss, learning rate, validation scores) to the stage's nested run.

    Attach after the validation handler: `state.metrics` of the trainer must hold the epoch's numbers when
    EPOCH_COMPLETED handlers run.
    """

    def __init__(self, tracking: Tracking) -> None:
        self.tracking = tracking

    def attach(self, engine: Engine) -> None:
        """Register on the trainer."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Log the numbers of one epoch."""
        self.tracking.log_metrics(engine.state.metrics, step=engine.state.epoch, run_id=self.tracking.stage_run_id)
