"""Progress of a training: a bar on a terminal, plain lines in a log file."""

from __future__ import annotations

import logging
import math
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar

from engines.base.console import Quiet
from engines.scoring.metrics import PAPER_METRICS
from engines.training.divergence import loss_of

logger = logging.getLogger("mammoseg")

STATUS = Path("/proc/self/status")
"""Status file of this process, on Linux."""


class TrainingProgress:
    """Shows the progress of iterations and, after each epoch, a row with loss, learning rate and validation scores.

    Attach to the trainer after its validation handler. On a terminal a bar shows the iterations with the remaining
    time; otherwise a line is logged every `every` iterations, so that a cluster's log stays readable.
    """

    def __init__(self, every: int = 50) -> None:
        self.every = every
        self._epoch_started = time.monotonic()

    def attach(self, engine: Engine) -> None:
        """Register on the trainer."""
        engine.add_event_handler(Events.STARTED, self._header)
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        if sys.stderr.isatty():
            bar = ProgressBar(persist=False, desc="epoch", ncols=100, file=Quiet(sys.stderr))
            bar.attach(engine, output_transform=_loss)
        else:
            engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.every), self._line)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._row)

    def _header(self) -> None:
        logger.info("  epoch     loss  learn.rate  pixel acc.  mean IoU  class acc.  seconds")

    def _start(self) -> None:
        self._epoch_started = time.monotonic()

    def _line(self, engine: Engine) -> None:
        state = engine.state
        done = state.iteration - (state.epoch - 1) * state.epoch_length
        rate = done / max(time.monotonic() - self._epoch_started, 1e-9)
        logger.info(
            "    epoch %d, iteration %d of %d: loss %.4f, learning rate %.2g, %.2f it/s, %.0f s left, %.1f GB",
            state.epoch,
            done,
            state.epoch_length,
            _loss(state.output)["loss"],
            state.metrics["learning_rate"],
            rate,
            (state.epoch_length - done) / rate,
            peak_memory_gb(),
        )

    def _row(self, engine: Engine) -> None:
        metrics, state = engine.state.metrics, engine.state
        scores = (f"{metrics[name]:.4f}" if name in metrics else "-" for name in PAPER_METRICS)  # "-": not validated
        logger.info(
            "%4d/%-4d %8.4f  %10.3g  %10s  %8s  %10s  %7.1f",
            state.epoch,
            state.max_epochs,
            metrics["train_loss"],
            metrics["learning_rate"],
            *scores,
            time.monotonic() - self._epoch_started,
        )


def _loss(output: Any) -> dict[str, float]:
    return {"loss": float(loss_of(output))}


def peak_memory_gb() -> float:
    """Return the peak resident memory of this process in GB (10**9 bytes); NaN if the system does not report it."""
    with suppress(OSError):
        for line in STATUS.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):  # `ru_maxrss` includes that of the parent process
                return 1024 * int(line.split()[1]) / 1e9
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (peak if sys.platform == "darwin" else 1024 * peak) / 1e9
