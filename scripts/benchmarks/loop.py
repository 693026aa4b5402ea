"""Time real training iterations against bare steps on the same batches.

    python -m scripts.benchmark loop [--bundles unet,fcn] [--recipe quick] [--width 1] [--epochs 9] [--json]

The iteration is that of `monai.bundle run training` on a small sample. It includes reading, cropping, augmentation,
metrics, handlers and tracking, but not validation, work after an epoch, or fine-tuning on other crops. The bare step
is forward pass, loss, backward pass and update (after as many passes as gradients are accumulated over) of a copy of
the network, in the same process, on batches of the epoch just trained. Every even epoch takes the batches of the
previous epoch from memory. After it, MONAI's `SupervisedTrainer` runs on the same batches with only the same network,
optimizer, loss and precision. Every epoch but the first gives a ratio; the table has their median, lowest and highest.
The last column is the floating-point operations per second of a bare step (convolutions and matrix products) divided
by those of products of two fp32 matrices of 1536 x 1536, measured after the same epochs. Times are processor time on a
CPU, with one thread, and wall time on a GPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any
from unittest import mock

import typer
from monai.bundle import run as run_bundle
from rich.console import Console
from rich.table import Table

from engines.base.network_file import all_rows
from engines.base.paths import project_root
from engines.training.staged_training import StagedTraining
from scripts.measuring.watch import Watch, clock_of
from scripts.sample import make_sample
from transforms.errors import UserError


@dataclass
class Ratio:
    """Median seconds of an iteration, a bare step, an iteration from memory and an iteration of MONAI's trainer; per
    epoch, bare / iteration, MONAI's / from memory, and the fraction of the rate of matrix products.
    """

    bundle: str
    batch: str
    real: float
    bare: float
    memory: float
    monai: float
    ratios: list[float]
    peer_ratios: list[float]
    gemm: list[float]


def measure(bundle: str, options: dict[str, Any], subjects: int) -> Ratio:
    """Train one bundle in this process on a sample of `subjects` subjects, and compare."""
    found: list[Watch] = []
    run = StagedTraining.run

    def watched(training: StagedTraining) -> Any:
        found.append(Watch(clock_of(training.trainer.state.device), peers=True))
        found[0].attach(training.trainer)
        return run(training)

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(StagedTraining, "run", watched):
        make_sample(Path(folder) / "sample", subjects=subjects, height=384, progress=False)
        paths = {
            "dataset_dir": f"{folder}/sample",
            "output_dir": f"{folder}/out",
            "tracking_uri": f"{folder}/mlflow.db",
        }
        config = project_root() / "bundles" / bundle / "configs" / "train.json"
        plain = {"patience": 0, "log_model": False, "fine_tuning": "$None"}
        run_bundle("training", config_file=str(config), **paths, **plain, **options)
    (watch,) = found
    image = watch.batches[0]["image"]
    batch = " x ".join(map(str, [len(image), *image.shape[2:]]))
    real, bare, memory, monai = map(median, (watch.real, watch.bare, watch.memory, watch.monai))
    ratios, peers = _ratios(watch.bare, watch.real), _ratios(watch.monai, watch.memory)
    return Ratio(bundle, batch, real, bare, memory, monai, ratios, peers, watch.gemm)


def _ratios(others: list[float], ours: list[float]) -> list[float]:
    return [other / mine for other, mine in zip(others, ours, strict=True)]


def spread(ratios: list[float]) -> str:
    """Format median, lowest and highest."""
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def loop(
    bundles: Annotated[str | None, typer.Option(help="Comma-separated names. Default: all.")] = None,
    recipe: Annotated[str, typer.Option(help="Recipe for crops, batch and options.")] = "quick",
    width: Annotated[float | None, typer.Option(help="Overrides the recipe.")] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch_size", min=1, help="Overrides the recipe; small for wide networks.")
    ] = None,
    subjects: Annotated[int, typer.Option(min=2, help="Subjects of the sample, 4 images each.")] = 8,
    epochs: Annotated[int, typer.Option(min=3, help="Epochs of the last stage, the only one trained.")] = 9,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time real training iterations of each network against bare steps and MONAI's trainer on the same batches."""
    known = all_rows()
    names = list(known) if bundles is None else [name.strip() for name in bundles.split(",")]
    if unknown := set(names) - set(known):
        raise UserError(f"--bundles {', '.join(sorted(unknown))}: unknown bundle; choose from {', '.join(known)}")
    lines = []
    for name in names:
        options: dict[str, Any] = {"recipe": recipe, "max_epochs": epochs, "stages": [list(known[name].stages)[-1]]}
        if width is not None:  # times do not depend on the learning rate; a larger one may make a wide network diverge
            options |= {"width": width, "learning_rate": 1e-6}
        if batch_size is not None:
            options |= {"batch_size": batch_size, "micro_batch_size": batch_size}
        lines.append(_in_own_process(name, options, subjects, threads))
    if as_json:
        print(json.dumps([asdict(line) for line in lines]))
        return
    heads = ["iteration (s)", "bare step (s)", "bare / iteration"]
    heads += ["from memory (s)", "MONAI's (s)", "MONAI's / from memory", "of matrix products"]
    table = Table("network", "batch", *heads, title=f"recipe {recipe}")
    for line in lines:
        own = (f"{line.real:.4f}", f"{line.bare:.4f}", spread(line.ratios))
        peer = (f"{line.memory:.4f}", f"{line.monai:.4f}", spread(line.peer_ratios))
        table.add_row(line.bundle, line.batch, *own, *peer, spread(line.gemm))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _in_own_process(bundle: str, options: dict[str, Any], subjects: int, threads: int) -> Ratio:
    words = [sys.executable, "-m", "scripts.benchmarks.loop", bundle, json.dumps(options), str(subjects)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}  # used by a training regardless of load
    done = subprocess.run(words, cwd=project_root(), env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise UserError(f"{bundle}: ended with code {done.returncode} ({last})")
    return Ratio(**json.loads(done.stdout.strip().splitlines()[-1]))


if __name__ == "__main__":
    print("\n", json.dumps(asdict(measure(sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])))))
