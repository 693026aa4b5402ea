"""Iterations of a training against bare steps on the same batches, in one process."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer

KEPT = 8
"""Batches of an epoch that the bare step is taken on."""


@dataclass
class Watch:
    """Times of the iterations of the last stage of a training, and of bare steps beside them."""

    clock: Callable[[], float]
    real: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    batches: list[Any] = field(default_factory=list)
    start: float = 0.0
    end: float = 0.0

    def attach(self, trainer: SupervisedTrainer) -> None:
        """Measure this trainer's iterations: to be called when all else is attached."""
        trainer.add_event_handler(Events.EPOCH_STARTED, self._begin)
        trainer.add_event_handler(Events.ITERATION_STARTED, self._keep)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._iteration)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._compare)

    def _begin(self) -> None:
        self.batches, self.start = [], self.clock()

    def _iteration(self) -> None:
        self.end = self.clock()

    def _keep(self, trainer: SupervisedTrainer) -> None:
        if len(self.batches) < KEPT:
            self.batches.append(trainer.prepare_batch(trainer.state.batch, trainer.state.device))

    def _compare(self, trainer: SupervisedTrainer) -> None:
        bare = steps(trainer, self.batches, self.clock)
        if trainer.state.epoch > 1:
            self.real.append((self.end - self.start) / trainer.state.epoch_length)
            self.bare.append(bare)


def steps(trainer: SupervisedTrainer, batches: list[Any], clock: Callable[[], float]) -> float:
    """Median seconds of a step of a copy of a trainer's network; one step before is not counted."""
    network = copy.deepcopy(trainer.network)
    optimizer = copy.deepcopy(trainer.optimizer)
    optimizer.state.clear()
    optimizer.param_groups[0]["params"] = [p for p in network.parameters() if p.requires_grad]
    network.train()
    seconds = []
    for image, label, *_ in [batches[0], *batches]:
        start = clock()
        optimizer.zero_grad()
        trainer.loss_function(trainer.inferer(image, network), label).backward()
        optimizer.step()
        seconds.append(clock() - start)
    return median(seconds[1:])


def clock_of(device: torch.device) -> Callable[[], float]:
    """Processor time, or the time when a GPU has done what it was told."""
    if device.type != "cuda":
        return time.process_time

    def clock() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return clock
