"""Number of epochs for which each finished epoch was trained: `max_epochs` may change when a training is resumed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from engines.training.lr_schedule import rate_of_epoch
from engines.training.plan import Stage
from transforms.crops import CropSize

logger = logging.getLogger("mammoseg")


class PlannedEpochs:
    """Tells whether a training's result differs from that of an uninterrupted one with the same `max_epochs`.

    The number of epochs of a stage determines the learning rate of an epoch (cosine, fine-tuning) and its crops
    (fine-tuning).

    Args:
        schedule: learning-rate schedule, drop factor and drop period, see `rate_of_epoch`.
    """

    def __init__(self, schedule: tuple[str, float, int]) -> None:
        self.schedule = schedule
        self.epochs: dict[str, list[int]] = {}

    def add(self, stage: Stage) -> None:
        """Note that an epoch of a stage is finished."""
        self.epochs.setdefault(stage.name, []).append(stage.max_epochs)

    def state(self) -> dict[str, Any]:
        """Return the entry for a checkpoint: stage → `max_epochs` with which each of its epochs was trained."""
        return {"planned": self.epochs}

    def restore(self, saved: Mapping[str, Any], plan: Sequence[Stage], current: int) -> None:
        """Resume from a checkpoint with the entry of `state`; log a warning for each stage that differs.

        Args:
            saved: the checkpoint; one of an earlier version lacks the entry, and its settings are used.
            plan: stages in order.
            current: number of the stage to continue.

        Raises:
            ValueError: the checkpoint has more epochs than were planned.
        """
        if "planned" in saved:
            self.epochs = {name: list(epochs) for name, epochs in saved["planned"].items()}
        else:
            name, given = saved["stage"], saved["settings"].get("max_epochs")
            limit = given.get(name) if isinstance(given, Mapping) else given
            self.epochs = {} if limit is None else {name: [int(limit)] * saved["epoch"]}
        if any(limit < number for epochs in self.epochs.values() for number, limit in enumerate(epochs, 1)):
            raise ValueError("its epochs are more than were planned")
        for stage in self._differing(plan, plan[:current]):
            epochs = self.epochs[stage.name]
            logger.warning(
                "Stage %s: %d epochs were trained with max_epochs %s, and %d changes their learning rates, crops or "
                "number. The result differs from that of an uninterrupted training with max_epochs %d.",
                *(stage.name, len(epochs), _numbers(epochs), stage.max_epochs, stage.max_epochs),
            )

    def record(self, plan: Sequence[Stage], stage: Stage) -> dict[str, Any]:
        """Return the entry for the record beside the weights of a stage at its end; empty if nothing differs."""
        earlier = plan[: plan.index(stage)]
        differing = self._differing([*earlier, stage], earlier)
        before = {each.name: sorted({*self.epochs[each.name]} - {each.max_epochs}) for each in differing}
        return {"max_epochs_before": before} if before else {}

    def _differing(self, plan: Sequence[Stage], ended: Sequence[Stage]) -> list[Stage]:
        return [stage for stage in plan if self._differs(stage, stage in ended)]

    def _differs(self, stage: Stage, ended: bool) -> bool:
        """Return whether an uninterrupted training would have trained the finished epochs of a stage otherwise.

        Args:
            ended: the stage gets no further epochs; unless it was stopped early, more were to be trained.
        """
        epochs = self.epochs.get(stage.name, [])
        if not epochs or set(epochs) == {stage.max_epochs}:
            return False
        if len(epochs) > stage.max_epochs or (ended and len(epochs) == epochs[-1] < stage.max_epochs):
            return True
        trained = [self._epoch(replace(stage, max_epochs=limit), number) for number, limit in enumerate(epochs, 1)]
        return trained != [self._epoch(stage, number) for number in range(1, len(epochs) + 1)]

    def _epoch(self, stage: Stage, number: int) -> tuple[float, CropSize]:
        return rate_of_epoch(stage, number, *self.schedule), stage.crop_size_at(number)


def _numbers(epochs: Sequence[int]) -> str:
    return ", ".join(map(str, dict.fromkeys(epochs)))
