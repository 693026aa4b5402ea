"""Time of all networks, folds and seeds, from concurrent trainings on a device; see `scripts.benchmarks.evidence`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from engines.base.loading import MOST, on_gpu
from engines.base.paths import project_root
from engines.base.processors import available_processors
from engines.training.plan import Stage
from scripts.measuring.bundle_networks import recipe_of
from scripts.measuring.epoch_file import EpochFile, counted_minutes
from scripts.measuring.gpu_groups import NETWORKS
from scripts.measuring.shared_device import MARK, VALIDATED, Epoch, stages_of_all
from scripts.measuring.timing import device_name, device_of
from transforms.errors import UserError

COMMAND = [sys.executable, "-m", "scripts.measuring.shared_device"]


def run_evidence(
    minutes: float = 8.0,
    at_once: int = 8,
    recipe: str = "tissue",
    folds: int = 5,
    seeds: int = 3,
    device: str = "",
    tiny: bool = False,
    as_json: bool = False,
    out: Path = Path("evidence.jsonl"),
) -> None:
    """Measure, and print the time of each stage and the total, from all epochs in the file `out`.

    Raises:
        UserError: the device or recipe is unknown, a process ended, or a stage completed no epoch in the minutes.
    """
    used = device_of(device)
    stages = stages_of_all(recipe, tiny)
    if recipe_of(NETWORKS[0], recipe)["image_height"] is None:
        raise UserError(f"--recipe {recipe}: has no image_height for the synthetic images; choose another")
    readers = min(MOST, available_processors() // at_once) if on_gpu(used) else 0
    task = {"device": str(used), "recipe": recipe, "tiny": tiny, "num_workers": readers}
    conditions = {"recipe": recipe, "at_once": at_once, "tiny": tiny, "readers": readers}
    file = EpochFile(out, {"device": device_name(used), "torch": torch.__version__, **conditions})
    file.read()  # refuses another file before it measures
    shared(at_once, minutes * 60, task, file.append)
    all_calls = file.read()
    counted, measured = [one.epoch for one in all_calls], 60 * counted_minutes(all_calls)
    lacking = [f"{network} {stage}" for network, stage in stages if not _of(counted, network, stage)]
    if lacking:
        raise UserError(f"no epoch of {', '.join(lacking)} in {measured / 60:.2g} minutes: repeat the command")
    seconds = {key: folds * seeds * training_seconds(stage, key, counted, recipe) for key, stage in stages.items()}
    total = sum(seconds.values()) / at_once
    if as_json:
        about = {"device": device_name(used), "at_once": at_once, "counted": measured}
        by_stage = {" ".join(key): value for key, value in seconds.items()}
        print(json.dumps({**about, "seconds": total, "of_stages": by_stage}))
        return
    for (network, stage), of_stage in seconds.items():
        own = _of(counted, network, stage)
        each = mean(epoch.seconds for epoch in own)
        print(f"{network:11} {stage:10} {len(own):4} epochs, {each:7.3f} s each; {of_stage:9.0f} s")
    print(
        f"{len(NETWORKS)} networks x {folds} folds x {seeds} seeds, recipe {recipe}, {at_once} at once on "
        f"{device_name(used)}, torch {torch.__version__}: {total / 60:.1f} min, "
        f"extrapolated from {measured / 60:.1f} min"
    )


def training_seconds(stage: Stage, key: tuple[str, str], counted: Sequence[Epoch], recipe: str) -> float:
    """Return the seconds of one stage of one training: epochs, and validations on all images."""
    own = _of(counted, *key)
    validations = stage.max_epochs // int(recipe_of(key[0], recipe)["val_interval"]) + 1
    images = VALIDATED * validations
    return stage.max_epochs * mean(e.seconds for e in own) + images * mean(e.image_seconds for e in own)


def shared(at_once: int, seconds: float, task: dict[str, Any], count: Callable[[float, Epoch], None]) -> None:
    """Count epochs of processes that share the device for `seconds` after all are warm.

    Ctrl-C ends counting early.

    Args:
        at_once: number of processes.
        seconds: how long to count.
        task: see `scripts.measuring.shared_device`.
        count: called with the time at which counting began, and each completed epoch.

    Raises:
        UserError: a process ended; the message has its last line of output.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ending:
        workers = [Worker(number, {**task, "folder": folder}) for number in range(at_once)]
        ending.callback(_end, workers)
        started = time.time()
        for worker in workers:
            worker.start()
        try:
            while not all(worker.warm for worker in workers):
                _watch(workers)
        except KeyboardInterrupt:
            warm = sum(bool(worker.warm) for worker in workers)
            raise UserError(f"interrupted when {warm} of {at_once} trainings were warm: nothing was counted") from None
        begin = max(worker.warm[0].began for worker in workers)
        end = begin + seconds
        print(f"{at_once} trainings are warm after {begin - started:.0f} s", file=sys.stderr)
        try:
            while time.time() < end:
                _watch(workers)
                _count(workers, begin, end, count)
        except KeyboardInterrupt:
            end = time.time()
        _count(workers, begin, end, count)


def _count(workers: Sequence[Worker], begin: float, end: float, count: Callable[[float, Epoch], None]) -> None:
    for epoch in (epoch for worker in workers for epoch in worker.new()):
        if epoch.began >= begin and epoch.began + epoch.seconds + epoch.image_seconds <= end:
            count(begin, epoch)


def _end(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.wait()


def _watch(workers: Sequence[Worker]) -> None:
    time.sleep(0.05)
    for worker in workers:
        worker.check()


class Worker:
    """A training process and its completed epochs."""

    def __init__(self, number: int, task: dict[str, Any]) -> None:
        self.task = {**task, "number": number}
        self.said = Path(task["folder"]) / f"said-{number}.txt"
        self.process: subprocess.Popen[str] | None = None
        self.warm: list[Epoch] = []
        self._given = 0

    def start(self) -> None:
        """Start the process, and a thread that reads its epochs."""
        environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        with self.said.open("w") as said:
            self.process = subprocess.Popen(
                [*COMMAND, json.dumps(self.task)], cwd=project_root(), env=environment, stdout=subprocess.PIPE,
                stderr=said, text=True, errors="replace", start_new_session=True,
            )  # fmt: skip
        self.reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self.reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                if line.startswith(MARK) and (epoch := Epoch(**json.loads(line[len(MARK) :]))).warm:
                    self.warm.append(epoch)

    def new(self) -> Sequence[Epoch]:
        """Return the epochs since the last call."""
        new = self.warm[self._given :]
        self._given += len(new)
        return new

    def check(self) -> None:
        """Raise UserError if the process has ended."""
        if self.process is not None and (code := self.process.poll()) is not None:
            said = self.said.read_text(errors="replace").strip().splitlines() or ["no output"]
            raise UserError(f"a training ended with code {code} ({said[-1][:300]}); try a smaller --at-once")

    def kill(self) -> None:
        """Kill the process if it was started, and its data loader processes, which would outlive it by seconds."""
        if self.process is None:
            return
        if hasattr(os, "killpg"):  # not on Windows
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()

    def wait(self) -> None:
        """Wait until the process and its reading thread have ended."""
        if self.process is not None:
            self.process.wait()
            self.reader.join()


def _of(counted: Sequence[Epoch], network: str, stage: str) -> list[Epoch]:
    return [epoch for epoch in counted if (epoch.network, epoch.stage) == (network, stage)]
