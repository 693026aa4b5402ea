"""Sequential or concurrent trainings, on this machine or as cluster jobs."""

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
"""Default parameters of cluster jobs."""


@dataclass(frozen=True)
class Place:
    """Where trainings run.

    Attributes:
        jobs: number of concurrent trainings; None for one, or all on SLURM.
        cluster: "slurm", "local" (jobs on this machine through submitit), or None for plain processes.
        options: parameters of cluster jobs, under submitit's names.
        folder: folder for the logs of cluster jobs.

    Raises:
        UserError: the cluster is unknown.
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
        """Number of concurrent trainings."""
        return self.jobs or (math.inf if self.cluster == "slurm" else 1)


class Running(Protocol):
    """Training that was started."""

    def poll(self) -> int | None:
        """Return the exit code, or None while the training runs."""

    def ask(self) -> None:
        """Ask the training to end."""

    def wait(self, deadline: float) -> None:
        """Wait until the training has ended; kill it at `deadline` (`time.monotonic`)."""


Starter = Callable[[Sequence[str]], Running]


def run_all(
    count: int, start: Callable[[int], Sequence[str]], end: Callable[[int, int], None], place: Place
) -> tuple[int, int] | None:
    """Run `count` commands; after a failure, start no further ones and wait for running ones.

    Args:
        start: returns the command of a number; called just before it runs.
        end: called with number and exit code of each command that ended.

    Returns number and exit code of the first failed command.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM, after all commands have ended.
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
            if place.cluster or isinstance(interruption, Terminated):  # Ctrl-C has already reached local processes
                each.ask()
        deadline = time.monotonic() + process.SECONDS_TO_END  # the same for all, however many hang
        for each in running.values():
            each.wait(deadline)
        raise


def _at_once(
    waiting: list[int],
    running: dict[int, Running],
    start: Callable[[int], Sequence[str]],
    end: Callable[[int, int], None],
    place: Place,
) -> tuple[int, int] | None:
    """Keep the allowed number of commands running; `running` holds the active ones."""
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

    def wait(self, deadline: float) -> None:
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
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
    """Return the GPUs that this process may use, in the form of `CUDA_VISIBLE_DEVICES`."""
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
        except Exception as error:  # from the cluster: canceled, out of time or memory
            print(f"job {self.job.job_id}: {str(error).splitlines()[0]}; log: {self.job.paths.stderr}", file=sys.stderr)
            return 1

    def ask(self) -> None:
        self.job.cancel()

    def wait(self, deadline: float) -> None:
        """Return at once: the cluster ends a canceled job."""


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
