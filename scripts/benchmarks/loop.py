"""A real training iteration against the bare step on the same batches.

    python -m scripts.benchmark loop [--bundles unet,fcn] [--recipe quick] [--width 1] [--epochs 6] [--json]

The iteration is that of `monai.bundle run training` on a sample of eight subjects: reading, cropping, augmentation,
metrics, handlers and tracking included, validation and what follows an epoch not. The bare step is forward pass, loss,
backward pass and update of a copy of the network, in the same process, on batches of the epoch just trained. Every
epoch but the first gives a ratio; the table has their median, lowest and highest. Processor time on a CPU, with one
thread; time on a GPU.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any
from unittest import mock

import torch
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

SUBJECTS = 8
"""Of the sample."""


@dataclass
class Ratio:
    """Seconds of an iteration and of a bare step, and bare / real of each epoch."""

    bundle: str
    batch: str
    real: float
    bare: float
    ratios: list[float]


def measure(bundle: str, options: dict[str, Any]) -> Ratio:
    """Train one bundle in this process, and compare."""
    found: list[Watch] = []
    run = StagedTraining.run

    def watched(training: StagedTraining) -> Any:
        found.append(Watch(clock_of(training.trainer.state.device)))
        found[0].attach(training.trainer)
        return run(training)

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(StagedTraining, "run", watched):
        make_sample(Path(folder) / "sample", subjects=SUBJECTS, height=384, progress=False)
        paths = {
            "dataset_dir": f"{folder}/sample",
            "output_dir": f"{folder}/out",
            "tracking_uri": f"{folder}/mlflow.db",
        }
        config = project_root() / "bundles" / bundle / "configs" / "train.json"
        run_bundle("training", config_file=str(config), **paths, patience=0, log_model=False, **options)
    (watch,) = found
    batch = " x ".join(map(str, [len(watch.batches[0][0]), *watch.batches[0][0].shape[2:]]))
    ratios = [bare / real for real, bare in zip(watch.real, watch.bare, strict=True)]
    return Ratio(bundle, batch, median(watch.real), median(watch.bare), ratios)


def loop(
    bundles: Annotated[str | None, typer.Option(help="names separated by commas; by default all")] = None,
    recipe: Annotated[str, typer.Option(help="whose crops, batch and options")] = "quick",
    width: Annotated[float | None, typer.Option(help="in place of the recipe's")] = None,
    epochs: Annotated[int, typer.Option(min=2, help="of the last stage alone")] = 6,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="for other programs")] = False,
) -> None:
    """Time real training iterations of each network against bare steps on the same batches."""
    known = all_rows()
    names = list(known) if bundles is None else [name.strip() for name in bundles.split(",")]
    if unknown := set(names) - set(known):
        raise UserError(f"--bundles {', '.join(sorted(unknown))}: unknown bundle; choose from {', '.join(known)}")
    lines = []
    for name in names:
        options: dict[str, Any] = {"recipe": recipe, "max_epochs": epochs, "stages": [list(known[name].stages)[-1]]}
        lines.append(_in_own_process(name, options | ({"width": width} if width is not None else {}), threads))
    if as_json:
        print(json.dumps([asdict(line) for line in lines]))
        return
    table = Table("network", "batch", "iteration (s)", "bare step (s)", "bare / iteration", title=f"recipe {recipe}")
    for line in lines:
        low, middle, high = min(line.ratios), median(line.ratios), max(line.ratios)
        cells = (f"{line.real:.4f}", f"{line.bare:.4f}", f"{middle:.2f} ({low:.2f} to {high:.2f})")
        table.add_row(line.bundle, line.batch, *cells)
    Console().print(table)


def _in_own_process(bundle: str, options: dict[str, Any], threads: int) -> Ratio:
    words = [sys.executable, "-m", "scripts.benchmarks.loop", bundle, json.dumps(options), str(threads)]
    done = subprocess.run(words, cwd=project_root(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
        raise UserError(f"{bundle}: ended with code {done.returncode} ({last})")
    return Ratio(**json.loads(done.stdout.strip().splitlines()[-1]))


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    print("\n", json.dumps(asdict(measure(sys.argv[1], json.loads(sys.argv[2])))))
