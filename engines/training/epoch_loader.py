"""A data loader whose processes read the next epoch while the trainer finishes the current one."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import torch
from monai.data import DataLoader, get_track_meta, set_track_meta, worker_init_fn
from monai.engines import SupervisedTrainer, Workflow

from engines.training.epochs import begin_epoch
from engines.training.plan import Stage
from transforms.crops import CropSize


class EpochLoader(DataLoader):
    """A `monai.data.DataLoader` whose processes may persist and can begin an epoch of an `EpochDataset` early.

    The number of global random draws does not depend on processes or their persistence, so the network's own draws, for
    dropout, are the same. Processes keep metadata of tensors if the process that starts them does.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("worker_init_fn", partial(_begin_process, get_track_meta()))
        super().__init__(*args, **kwargs)
        self._begun: tuple[tuple[Any, CropSize], Iterator[Any]] | None = None

    def begin(self) -> None:
        """Make persistent processes read the first batches of the data set's current epoch."""
        if self.persistent_workers:
            self._begun = self._present, self._batches()

    def close(self) -> None:
        """End the persistent processes; the next epoch starts new ones."""
        self._begun = None
        batches: Any = self._iterator  # type: ignore[has-type]
        self._iterator = None
        if batches is not None:
            atexit.unregister(batches._shutdown_workers)
            batches._shutdown_workers()

    def __iter__(self) -> Iterator[Any]:
        begun, self._begun = self._begun, None
        batches = begun[1] if begun is not None and begun[0] == self._present else self._batches()
        torch.empty((), dtype=torch.int64).random_()  # as a new `DataLoader` draws for its processes
        return islice(batches, len(self))  # a fixed end: persistent processes may have begun the next epoch

    @property
    def _present(self) -> tuple[Any, CropSize]:
        return self.dataset.epoch_key, self.dataset.crop_size

    def _batches(self) -> Iterator[Any]:
        new = self._iterator is None
        with torch.random.fork_rng(devices=[]):
            batches: Any = super().__iter__()
        if new and self.persistent_workers:
            atexit.register(
                batches._shutdown_workers
            )  # PyTorch waits 5 s at exit for each process that it has not ended
        return batches  # type: ignore[no-any-return]


def _begin_process(track_meta: bool, number: int) -> None:
    """Initialize a new process, which does not inherit `set_track_meta` unless it is forked."""
    set_track_meta(track_meta)
    worker_init_fn(number)


@runtime_checkable
class ReadsAhead(Protocol):
    """A loader whose processes persist."""

    def begin(self) -> None:
        """Make them read the first batches of the data set's current epoch."""

    def close(self) -> None:
        """End them."""


def read_ahead(trainer: SupervisedTrainer, index: int, stage: Stage) -> None:
    """After the last iteration of an epoch of stage number `index`, make the loader begin the next one."""
    state, loader = trainer.state, trainer.data_loader
    if isinstance(loader, ReadsAhead) and state.iteration % state.epoch_length == 0 and state.epoch < state.max_epochs:
        begin_epoch(loader, index, stage, state.epoch + 1)
        loader.begin()


def end_reading(engine: Workflow) -> None:
    """End the processes that read for a trainer or an evaluator."""
    if isinstance(engine.data_loader, ReadsAhead):
        engine.data_loader.close()


@contextmanager
def reading(engine: Workflow) -> Iterator[None]:
    """End the processes that read for a trainer or an evaluator with the block."""
    try:
        yield
    finally:
        end_reading(engine)
