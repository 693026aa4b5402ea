"""Epoch times of a training, by stage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from ignite.engine import Events
from monai.bundle import run as run_bundle
from monai.engines import SupervisedTrainer

from engines.base.paths import project_root
from engines.training.staged_training import StagedTraining
from scripts.measuring.watch import clock_of


@dataclass
class EpochTimes:
    """Seconds of each epoch without its validation, crops per epoch, and the largest size of a folder.

    Attributes:
        clock: see `scripts.measuring.watch.clock_of`.
        folder: folder whose size is measured at the end of each epoch.
        seconds: by stage.
    """

    clock: Callable[[], float]
    folder: Path
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    crops: int = 0
    most_bytes: int = 0
    start: float = 0.0
    end: float = 0.0

    def attach(self, training: StagedTraining) -> None:
        """Measure this training; call after attaching all other handlers."""
        trainer = training.trainer
        self.crops = len(training.dataset)
        trainer.add_event_handler(Events.EPOCH_STARTED, self._begin)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._iteration)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._note, training)

    def _begin(self) -> None:
        self.start = self.clock()

    def _iteration(self, trainer: SupervisedTrainer) -> None:
        if trainer.state.iteration % trainer.state.epoch_length == 0:  # waiting for a GPU would slow the others
            self.end = self.clock()

    def _note(self, training: StagedTraining) -> None:
        self.seconds[training.stage.name].append(self.end - self.start)
        kept = self.folder.glob("*/*") if self.folder.is_dir() else ()
        self.most_bytes = max(self.most_bytes, sum(path.stat().st_size for path in kept))


def watched_training(bundle: str, options: dict[str, Any], folder: Path) -> EpochTimes:
    """Train a bundle in this process; see `EpochTimes` for `folder`."""
    found: list[EpochTimes] = []
    run = StagedTraining.run

    def watched(training: StagedTraining) -> Any:
        found.append(EpochTimes(clock_of(training.trainer.state.device), folder))
        found[0].attach(training)
        return run(training)

    with mock.patch.object(StagedTraining, "run", watched):
        config = project_root() / "bundles" / bundle / "configs" / "train.json"
        run_bundle("training", config_file=str(config), **options)
    return found[0]
