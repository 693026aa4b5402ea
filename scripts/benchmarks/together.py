"""Slowdown of concurrent trainings compared with a single one.

    python -m scripts.benchmark together [--trainings 2] [--epochs 4] [--repeats 3] [--json]

Each training is a separate process: `quick` of one bundle on a sample of eight subjects. The epochs of all stages are
timed, without validation and other work after an epoch. A single training has one thread. Concurrent trainings choose
their number of threads, as without OMP_NUM_THREADS, or have N each with `--threads N`. The median is reported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from engines.base.paths import project_root

EPOCHS = """
import json, sys, time
import torch
from ignite.engine import Events
from monai.bundle import run
from monai.engines import SupervisedTrainer
seen, times = {}, []
fire = SupervisedTrainer._fire_event
def note(engine, event, *args, **kwargs):
    if event == Events.EPOCH_STARTED:
        seen["start"] = time.perf_counter()
    if event == Events.EPOCH_COMPLETED:  # before its handlers, such as validation
        times.append(time.perf_counter() - seen["start"])
    return fire(engine, event, *args, **kwargs)
SupervisedTrainer._fire_event = note
options = json.loads(sys.argv[1])
run("training", **options)
print("\\n", json.dumps([sum(times) / len(times), torch.get_num_threads()]))
"""
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY")


@dataclass(frozen=True)
class Together:
    """Seconds per epoch, as the mean of a training; threads used; ratio to the epoch of a single training."""

    name: str
    seconds: float
    fastest: float
    slowest: float
    threads: list[int]
    ratio: float


def together(
    trainings: Annotated[int, typer.Option(min=2, help="Concurrent trainings.")] = 2,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs per stage.")] = 4,
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions; the median is reported.")] = 3,
    bundle: Annotated[str, typer.Option(help="Bundle to train.")] = "dilation10",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads per training. Default: chosen by load.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time concurrent trainings against a single one with one thread."""
    from scripts.sample import make_sample

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        options = {
            "config_file": str(project_root() / "bundles" / bundle / "configs" / "train.json"),
            "dataset_dir": str(make_sample(folder / "sample", subjects=8, height=384, progress=False)),
            "tracking_uri": str(folder / "mlflow.db"),
            "max_epochs": epochs,
            "patience": 0,
            "log_model": False,
            "force": True,
        }
        alone, several = [], []
        for _ in range(repeats):
            alone += at_once(1, options, folder, {"OMP_NUM_THREADS": "1"})
            several += at_once(trainings, options, folder, {"OMP_NUM_THREADS": str(threads)} if threads else {})
    bare = median(seconds for seconds, _ in alone)
    found = []
    for name, times in (("alone, one thread", alone), (f"{trainings} at the same time", several)):
        seconds = [each for each, _ in times]
        middle, used = median(seconds), sorted({number for _, number in times})
        found.append(Together(name, middle, min(seconds), max(seconds), used, middle / bare))
    if as_json:
        print(json.dumps([asdict(each) for each in found]))
        return
    table = Table("", "threads", "seconds per epoch", "fastest to slowest", "ratio")
    for each in found:
        spread = f"{each.fastest:.2f} to {each.slowest:.2f}"
        table.add_row(each.name, ", ".join(map(str, each.threads)), f"{each.seconds:.2f}", spread, f"{each.ratio:.2f}")
    Console().print(table)


def at_once(
    count: int, options: Mapping[str, Any], folder: Path, threads: Mapping[str, str]
) -> list[tuple[float, int]]:
    """Return seconds per epoch, and threads, of each of `count` trainings started together.

    Raises:
        ValueError: one failed; with the end of what it said.
    """
    environment = {key: value for key, value in os.environ.items() if key not in VARIABLES} | dict(threads)
    started = []
    for number in range(count):
        words = json.dumps({**options, "output_dir": str(folder / f"output-{number}")})
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", EPOCHS, words]
        started.append(subprocess.Popen(command, cwd=project_root(), env=environment, **pipes))
    found = []
    for process in started:
        out, err = process.communicate()
        if process.returncode:
            raise ValueError(f"the training failed: {' '.join((out + err).split()[-30:])}")
        seconds, used = json.loads(out.splitlines()[-1])
        found.append((float(seconds), int(used)))
    return found
