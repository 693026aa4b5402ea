"""Fraction of training time spent on writing: resume states, tables, MLflow, weights, evidence of a stage.

    python -m scripts.benchmark writing [--bundles unet,deeplabv3] [--recipe quick] [--epochs 10] [--json]

Trainings by `monai.bundle run training` on a sample of eight subjects, each in a separate process with one thread.
Measures processor time from the begin of the first stage to the end of the last.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import torch
import typer
from monai.bundle import run as run_bundle
from rich.console import Console
from rich.table import Table

from engines.base.network_file import all_rows
from engines.base.paths import project_root
from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output
from engines.records.resume_state import Progress
from engines.records.stage_tracking import StageTrackingHandler
from engines.training import staged_training
from engines.training.staged_training import StagedTraining
from scripts.sample import make_sample
from transforms.errors import UserError

SUBJECTS = 8
"""Subjects of the sample."""
ALL = "whole training"
WRITING: dict[str, list[tuple[Any, str]]] = {
    "states, each epoch": [(Progress, "save")],
    "tables, each epoch": [(Output, "append_epoch")],
    "MLflow, each epoch": [(StageTrackingHandler, "__call__")],
    "MLflow, each stage": [(Tracking, "start_stage"), (Tracking, "end_stage")],
    "weights, each stage": [(Output, "save_stage")],
    "evidence, each stage": [(staged_training, "leave_evidence")],
}
"""Kind of writing → functions that write it; none of them calls another."""


def writing(
    bundles: Annotated[str, typer.Option(help="Comma-separated names.")] = "unet,deeplabv3",
    recipe: Annotated[str, typer.Option(help="Recipe for crops, batch and options.")] = "quick",
    epochs: Annotated[int, typer.Option(min=1)] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure the time spent on writing, in per cent of the processor time of a training."""
    known = all_rows()
    names = [name.strip() for name in bundles.split(",")]
    if unknown := set(names) - set(known):
        raise UserError(f"--bundles {', '.join(sorted(unknown))}: unknown bundle; choose from {', '.join(known)}")
    options = {"recipe": recipe, "max_epochs": epochs, "patience": 0, "log_model": False}
    found = {name: _in_own_process(name, options) for name in names}
    if as_json:
        print(json.dumps(found))
        return
    table = Table("per cent", *names)
    for row in WRITING:
        table.add_row(row, *(f"{100 * seconds[row] / seconds[ALL]:.2f}" for seconds in found.values()))
    table.add_row(f"{ALL}, s", *(f"{seconds[ALL]:.1f}" for seconds in found.values()))
    Console().print(table)


def measure(bundle: str, options: dict[str, Any]) -> dict[str, float]:
    """Train one bundle in this process; return processor seconds of `ALL`, and of each row of `WRITING`."""
    config = project_root() / "bundles" / bundle / "configs" / "train.json"
    with tempfile.TemporaryDirectory() as folder, clocked() as seconds:
        make_sample(Path(folder) / "sample", subjects=SUBJECTS, height=384, progress=False)
        paths = {
            "dataset_dir": f"{folder}/sample",
            "output_dir": f"{folder}/out",
            "tracking_uri": f"{folder}/mlflow.db",
        }
        run_bundle("training", config_file=str(config), **paths, **options)
        return {name: seconds[name] for name in (ALL, *WRITING)}


@contextmanager
def clocked() -> Iterator[dict[str, float]]:
    """Measure processor seconds of the functions of `WRITING`, and of all stages of a training, inside the block."""
    seconds: dict[str, float] = defaultdict(float)

    def timing(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                seconds[name] += time.process_time() - start

        return timed

    with ExitStack() as stack:
        for name, owners in {ALL: [(StagedTraining, "run")], **WRITING}.items():
            for owner, function in owners:
                stack.enter_context(mock.patch.object(owner, function, timing(name, getattr(owner, function))))
        yield seconds


def _in_own_process(bundle: str, options: dict[str, Any]) -> dict[str, float]:
    words = [sys.executable, "-m", "scripts.benchmarks.writing", bundle, json.dumps(options)]
    done = subprocess.run(words, cwd=project_root(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise UserError(f"{bundle}: ended with code {done.returncode} ({last})")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("\n", json.dumps(measure(sys.argv[1], json.loads(sys.argv[2]))))
