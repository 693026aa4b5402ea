"""Iterations of a training against bare steps and MONAI's own trainer, on the same batches, in one process."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice, pairwise
from statistics import median
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer

from engines.training.epoch_loader import ReadsAhead
from scripts.measuring.gemm import Gemm, flops_of

KEPT = 8
"""Number of batches per epoch used for bare steps."""


@dataclass
class Watch:
    """Iteration times of the last stage of a training, and of references, with an entry per epoch.

    Attributes:
        clock: clock in seconds.
        peers: also compare with MONAI's trainer and with matrix products. Every even epoch then takes the batches of
            the previous one from memory, as MONAI's trainer does.
        real: time of an iteration that reads its batch.
        memory: time of an iteration whose batch is in memory.
        bare: time of a bare step, after every epoch that reads.
        monai: time of an iteration of MONAI's trainer, after every epoch from memory.
        gemm: fraction of the rate of matrix products that the bare steps reach.
    """

    clock: Callable[[], float]
    peers: bool = False
    real: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    monai: list[float] = field(default_factory=list)
    gemm: list[float] = field(default_factory=list)
    batches: list[Any] = field(default_factory=list)
    start: float = 0.0
    end: float = 0.0
    _epoch: int = 0
    _flops: float = 0.0

    def attach(self, trainer: SupervisedTrainer) -> None:
        """Measure this trainer's iterations; call after attaching all other handlers."""
        if self.peers:
            trainer.data_loader = _Replayed(trainer.data_loader, self)
        trainer.add_event_handler(Events.EPOCH_STARTED, self._begin)
        trainer.add_event_handler(Events.ITERATION_STARTED, self._keep)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._iteration)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._compare)

    @property
    def from_memory(self) -> bool:
        """Whether this epoch takes its batches from memory."""
        return self.peers and self._epoch % 2 == 0

    def _begin(self, trainer: SupervisedTrainer) -> None:
        self._epoch = trainer.state.epoch
        if not self.from_memory:
            self.batches = []
        self.start = self.clock()

    def _iteration(self, trainer: SupervisedTrainer) -> None:
        if trainer.state.iteration % trainer.state.epoch_length == 0:  # waiting for a GPU would slow the others
            self.end = self.clock()

    def _keep(self, trainer: SupervisedTrainer) -> None:
        if len(self.batches) < KEPT and not self.from_memory:
            self.batches.append(trainer.state.batch)

    def _compare(self, trainer: SupervisedTrainer) -> None:
        seconds = (self.end - self.start) / trainer.state.epoch_length
        if self.from_memory:
            self.memory.append(seconds)
            self.monai.append(monai_iterations(trainer, self.batches, self.clock))
            return
        bare = steps(trainer, self.batches, self.clock)
        if trainer.state.epoch == 1:  # includes one-time work
            return
        self.real.append(seconds)
        self.bare.append(bare)
        if self.peers:
            self._flops = self._flops or flops_of(lambda: steps(trainer, self.batches[:1], self.clock)) / 2
            self.gemm.append(self._flops / bare / Gemm(trainer.state.device).rate(self.clock))


class _Replayed:
    """Data loader whose even epochs take the batches of the previous odd epoch from memory."""

    def __init__(self, loader: Any, watch: Watch) -> None:
        self._loader, self._watch = loader, watch

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        yield from islice(cycle(self._watch.batches), len(self)) if self._watch.from_memory else self._loader

    def begin(self) -> None:
        """Read ahead, unless the next epoch takes its batches from memory."""
        if self._watch.from_memory and isinstance(self._loader, ReadsAhead):
            self._loader.begin()

    def close(self) -> None:
        """End the processes that read."""
        if isinstance(self._loader, ReadsAhead):
            self._loader.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def steps(trainer: SupervisedTrainer, batches: list[Any], clock: Callable[[], float]) -> float:
    """Return seconds per step on a copy of a trainer's network; a first step is not counted.

    This is the median of the steps or, on a GPU, where steps are queued asynchronously, their mean. If the trainer
    accumulates gradients, weights are updated after the same number of passes.
    """
    network, optimizer = _copies(trainer)
    passes = trainer.accumulation_steps
    pairs = [trainer.prepare_batch(batch, trainer.state.device) for batch in batches]
    waits = trainer.state.device.type == "cuda"
    times = []
    for number, (image, label, *_) in enumerate([pairs[0], *pairs]):
        if not waits or number in (0, 1):
            times.append(clock())
        if number == 0 or (number - 1) % passes == 0:
            optimizer.zero_grad()
        loss = trainer.loss_function(trainer.inferer(image, network), label)
        (loss / passes if passes > 1 else loss).backward()
        if number % passes == 0:
            optimizer.step()
    times.append(clock())
    if waits:
        return (times[-1] - times[1]) / len(pairs)
    return median(end - start for start, end in pairwise(times[1:]))


def monai_iterations(trainer: SupervisedTrainer, batches: list[Any], clock: Callable[[], float]) -> float:
    """Return seconds per iteration of MONAI's trainer with its defaults, on a copy of a trainer's network.

    A first iteration is not counted. The precision is that of the given trainer. As in that trainer, a GPU is only
    synchronized at the end.
    """
    network, optimizer = _copies(trainer)
    peer = SupervisedTrainer(
        device=trainer.state.device,
        max_epochs=1,
        train_data_loader=[batches[0], *batches],
        network=network,
        optimizer=optimizer,
        loss_function=trainer.loss_function,
        inferer=trainer.inferer,
        accumulation_steps=trainer.accumulation_steps,
    )
    times: list[float] = []
    ends = (1, 1 + len(batches))
    counted = Events.ITERATION_COMPLETED(event_filter=lambda _, number: number in ends)
    peer.add_event_handler(counted, lambda: times.append(clock()))
    peer.logger.disabled = True
    peer.run()
    return (times[-1] - times[0]) / len(batches)


def _copies(trainer: SupervisedTrainer) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """Return copies of network and optimizer, the optimizer without its hooks, such as that of a moving average."""
    network = copy.deepcopy(trainer.network)
    optimizer = copy.deepcopy(trainer.optimizer)
    optimizer.state.clear()
    optimizer.param_groups[0]["params"] = [p for p in network.parameters() if p.requires_grad]
    network.train()
    return network, optimizer


def clock_of(device: torch.device) -> Callable[[], float]:
    """Return a clock of processor time or, on a GPU, of wall time after synchronization."""
    if device.type != "cuda":
        return time.process_time

    def clock() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return clock
