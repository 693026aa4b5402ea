"""Seconds and peak memory of one training step of each `paper` recipe, at full width and the paper's crop size.

Every stage runs in a separate process, to measure its own peak memory. An optimizer step is the forward and backward
passes of a mini-batch and one update. One pass and one update are timed, and summed accordingly.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from engines.base.network_file import all_rows
from engines.inference.inferers import PaddedInferer
from engines.training.losses import WeightedCrossEntropy
from engines.training.plan import plan, set_stage
from engines.training.training_progress import peak_memory_gb
from scripts.measuring.bundle_networks import network_of, recipe_of
from transforms.crops import rows_and_columns
from transforms.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CLASSES = 13
"""Number of annotated regions in the paper's Table 7."""


@dataclass(frozen=True)
class Step:
    """Cost of one step of a stage: `passes` forward and backward passes, and an update. Times are in seconds."""

    bundle: str
    stage: str
    crop_size: str
    parameters: int
    pass_seconds: float
    update_seconds: float
    passes: int
    step_seconds: float
    peak_gb: float


def paper_step(
    bundles: Annotated[str | None, typer.Option(help="Comma-separated names. Default: all.")] = None,
    classes: Annotated[int, typer.Option(min=2)] = CLASSES,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time one training step of each `paper` recipe at full width and crop size; takes minutes and up to 20 GB."""
    steps = []
    known = all_rows()
    for bundle in known if bundles is None else (name.strip() for name in bundles.split(",")):
        if bundle not in known:
            raise UserError(f"--bundles {bundle}: unknown bundle; choose from {', '.join(known)}")
        for stage in recipe_of(bundle)["stages"]:
            step = in_own_process(bundle, stage, classes)
            steps.append(step)
            Console(stderr=True).print(f"{bundle} {stage}: {step.pass_seconds:.1f} s per pass, {step.peak_gb:.1f} GB")
    if as_json:
        print(json.dumps([asdict(step) for step in steps]))
        return
    table = Table("network", "stage", "crop", "parameters", "pass (s)", "update (s)", "step (s)", "peak memory (GB)")
    for s in steps:
        cells = (f"{s.pass_seconds:.1f}", f"{s.update_seconds:.1f}", f"{s.step_seconds:.0f} ({s.passes} passes)")
        table.add_row(s.bundle, s.stage, s.crop_size, f"{s.parameters:,}", *cells, f"{s.peak_gb:.1f}")
    Console().print(table)


def in_own_process(bundle: str, stage: str, classes: int) -> Step:
    """Run `measure` in a fresh interpreter.

    Raises:
        UserError: the process ended without a result, for instance for lack of memory.
    """
    command = [sys.executable, "-m", "scripts.benchmarks.paper_step", bundle, stage, str(classes)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no output: probably out of memory"])[-1]
        raise UserError(f"{bundle} {stage}: ended with code {done.returncode} ({last})")
    return Step(**json.loads(done.stdout.strip().splitlines()[-1]))


def measure(bundle: str, stage: str, classes: int) -> Step:
    """Time one forward and backward pass on random numbers, and one update."""
    recipe = recipe_of(bundle)
    network = network_of(bundle, recipe["width"], classes)
    set_stage(network, stage)
    (this,) = plan([stage], recipe["max_epochs"], recipe["crop_size"], recipe["learning_rate"])
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, this.learning_rate, recipe["momentum"], weight_decay=recipe["weight_decay"])
    size = rows_and_columns(this.crop_size)
    image, label = torch.rand(1, 3, *size) - 0.5, torch.randint(0, classes, (1, 1, *size), dtype=torch.uint8)
    start = time.perf_counter()
    WeightedCrossEntropy()(PaddedInferer()(image, network), label).backward()
    passed = time.perf_counter()
    optimizer.step()
    updated = time.perf_counter()
    seconds, update = passed - start, updated - passed
    return Step(
        bundle=bundle,
        stage=stage,
        crop_size=" x ".join(map(str, size)),
        parameters=sum(p.numel() for p in network.parameters()),
        pass_seconds=seconds,
        update_seconds=update,
        passes=recipe["batch_size"],
        step_seconds=recipe["batch_size"] * seconds + update,
        peak_gb=peak_memory_gb(),
    )


if __name__ == "__main__":
    print(json.dumps(asdict(measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
