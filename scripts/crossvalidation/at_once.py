"""Trainings one after another or several at once: on this machine, or as jobs of a cluster."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from engines.base.threads import for_several
from scripts.crossvalidation import process
from scripts.crossvalidation.process import Terminated, run_training
from transforms.errors import UserError

PAUSE = 0.2
VISIBLE = "CUDA_VISIBLE_DEVICES"
CLUSTERS = ("local", "slurm")
LIMITS = {"timeout_min": 60 * 24 * 7}
"""Parameters of a cluster's jobs, where others are not given."""


@dataclass(frozen=True)
class Place:
    """Where trainings run.

    Attributes:
        jobs: how many at once; None for one, on SLURM for all.
        cluster: "slurm", "local" (as jobs of this machine, through the same engine), or None for plain processes.
        options: of the cluster's jobs, as submitit names them.
        folder: in which the cluster's jobs keep their logs.

    Raises:
        UserError: an unknown cluster.
    """

    jobs: int | None = None
    cluster: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path("outputs/crossval/jobs")

    def __post_init__(self) -> None:
        if self.cluster not in (None, *CLUSTERS):
            raise UserError(f"--cluster {self.cluster}: unknown; choose from {', '.join(CLUSTERS)}")

    @property
    def at_once(self) -> float:
        """How many trainings run at once."""
        return self.jobs or (math.inf if self.cluster == "slurm" else 1)


class Running(Protocol):
    """A training that was started."""

    def poll(self) -> int | None:
        """Its code, None while it runs."""

    def ask(self) -> None:
        """Ask it to end."""

    def wait(self) -> None:
        """Wait until it has ended; stop it for good where that takes too long."""


Starter = Callable[[Sequence[str]], Running]


def run_all(
    count: int, start: Callable[[int], Sequence[str]], end: Callable[[int, int], None], place: Place
) -> tuple[int, int] | None:
    """Run `count` commands; after one that fails, none is started any more, and those that run are waited for.

    Args:
        start: gives the command of a number, just before it runs.
        end: is told number and code of each that ended.

    Returns number and code of the first that failed.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM, after all have ended.
    """
    if place.cluster is None and place.at_once == 1:
        for index in range(count):
            code = run_training(start(index))
            end(index, code)
            if code:
                return index, code
        return None
    running: dict[int, Running] = {}
    try:
        return _at_once(list(range(count)), running, start, end, place)
    except KeyboardInterrupt as interruption:
        for each in running.values():
            if place.cluster or isinstance(interruption, Terminated):  # Ctrl-C reached processes of this terminal
                each.ask()
        for each in running.values():
            each.wait()
        raise


def _at_once(
    waiting: list[int],
    running: dict[int, Running],
    start: Callable[[int], Sequence[str]],
    end: Callable[[int, int], None],
    place: Place,
) -> tuple[int, int] | None:
    """Keep as many running as there may be; `running` holds those that do."""
    starter, failed = _on_cluster(place) if place.cluster else _here(place), None
    while running or waiting:
        while waiting and len(running) < place.at_once:
            index = waiting.pop(0)
            running[index] = starter(start(index))
        time.sleep(PAUSE)
        codes = {index: each.poll() for index, each in running.items()}
        for index, code in ((index, code) for index, code in codes.items() if code is not None):
            del running[index]
            end(index, code)
            if code:
                failed = failed or (index, code)
                waiting.clear()
    return failed


class _Process:
    def __init__(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(words, stdout=sys.stderr, env=dict(environment))

    def poll(self) -> int | None:
        return self.process.poll()

    def ask(self) -> None:
        self.process.terminate()

    def wait(self) -> None:
        try:
            self.process.wait(process.SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _here(place: Place) -> Starter:
    environment, devices = for_several(int(place.at_once)), gpus()
    started: list[tuple[str, _Process]] = []

    def start(words: Sequence[str]) -> Running:
        if len(devices) < 2:
            return _Process(words, environment)
        busy = [device for device, each in started if each.poll() is None]
        free = min(devices, key=busy.count)
        started.append((free, _Process(words, {**environment, VISIBLE: free})))
        return started[-1][1]

    return start


def gpus() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    given = os.environ.get(VISIBLE)
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    return [str(number) for number in range(torch.cuda.device_count())]


class _Job:
    def __init__(self, job: Any) -> None:
        self.job = job

    def poll(self) -> int | None:
        if not self.job.done():
            return None
        try:
            return int(self.job.result())
        except Exception as error:  # the cluster's own: canceled, out of time or memory
            print(f"job {self.job.job_id}: {str(error).splitlines()[0]}; log: {self.job.paths.stderr}", file=sys.stderr)
            return 1

    def ask(self) -> None:
        self.job.cancel()

    def wait(self) -> None:
        """A canceled job ends by itself."""


def _on_cluster(place: Place) -> Starter:
    try:
        import submitit
    except ImportError:
        raise UserError("--cluster: submitit is not installed; pip install 'mammoseg[slurm]', or submitit") from None
    place.folder.mkdir(parents=True, exist_ok=True)
    executor = submitit.AutoExecutor(folder=str(place.folder), cluster=place.cluster)
    try:
        executor.update_parameters(**{**LIMITS, **place.options})
    except (NameError, TypeError, ValueError, AssertionError) as error:
        raise UserError(f"--cluster_option: {str(error).splitlines()[0]}; see submitit's parameters") from None
    return lambda words: _Job(executor.submit(run_training, list(words)))
