"""Epoch times of Dilation10's stages on equal crops: front, and context module with and without `--cache_frozen`.

    python -m scripts.benchmark frozen [--recipe quick] [--width 0.25] [--crop_size 632] [--epochs 4] [--json]

Two trainings of the stages `front` and `context` on a sample of eight subjects, by `monai.bundle run training`, differ
only in the cache; the crops of `context` are drawn once. An epoch includes reading, cropping, augmentation, iterations
and handlers, but no validation. The first epoch of each stage is left out; the epoch that writes the cache has its own
row. Times are processor time on a CPU, with one thread, and wall time on a GPU. The weights of both trainings are
compared bit for bit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from engines.base.paths import project_root
from scripts.measuring.bundle_networks import recipe_of
from scripts.measuring.epoch_times import EpochTimes, watched_training
from scripts.sample import make_sample
from transforms.crops import CropSize, rows_and_columns
from transforms.errors import UserError

SUBJECTS = 8
"""Subjects of the sample."""
STAGES = ("front", "context")


def frozen(
    recipe: Annotated[str, typer.Option(help="Recipe for batch and options.")] = "quick",
    width: Annotated[float | None, typer.Option(help="Overrides the recipe.")] = None,
    crop_size: Annotated[
        int | None, typer.Option("--crop_size", min=32, help="Side; overrides that of context in the recipe.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=3, help="Epochs per stage.")] = 4,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time epochs of Dilation10's front and context on equal crops, with and without the cache of frozen layers."""
    own = recipe_of("dilation10", recipe)
    size = rows_and_columns(_of_context(own["crop_size"]) if crop_size is None else crop_size)
    options: dict[str, Any] = {"recipe": recipe, "stages": list(STAGES), "max_epochs": epochs, "crop_size": list(size)}
    options |= {"fine_tuning": None, "width": own["width"] if width is None else width, "val_interval": epochs}
    result = _in_own_process(options, threads)
    if as_json:
        print(json.dumps(result))
        return
    front = median(result["seconds"]["front"])
    title = f"{result['crops']} crops of {size[0]} x {size[1]}, width {options['width']:g}"
    table = Table("epoch of", "seconds", "low to high", "of front", title=title)
    for name, seconds in result["seconds"].items():
        middle, spread = median(seconds), f"{min(seconds):.3f} to {max(seconds):.3f}"
        table.add_row(name, f"{middle:.3f}", spread, f"{middle / front:.3f}")
    Console().print(table)
    same = "the same" if result["same"] else "DIFFERENT"
    print(f"on disk {result['bytes'] / 1e6:.1f} MB; weights after the stage, with and without the cache: {same}")


def measure(options: dict[str, Any]) -> dict[str, Any]:
    """Train twice in this process; return seconds of each epoch, bytes on disk, and whether the weights are equal."""
    times, weights = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        make_sample(Path(folder) / "sample", subjects=SUBJECTS, height=384, progress=False)
        for cache in (False, True):
            out = Path(folder) / str(cache)
            paths = {"dataset_dir": f"{folder}/sample", "output_dir": str(out), "tracking_uri": f"{folder}/mlflow.db"}
            more = {"crop_draws": {"context": 1}, "cache_frozen": cache, "patience": 0, "log_model": False}
            times[cache] = watched_training("dilation10", {**options, **paths, **more}, out / "models" / "frozen")
            weights[cache] = torch.load(out / "models" / "context.pt", weights_only=True)
    return {
        "crops": times[True].crops,
        "seconds": _rows(times[False], times[True]),
        "bytes": times[True].most_bytes,
        "same": all(torch.equal(value, weights[True][name]) for name, value in weights[False].items()),
    }


def _rows(without: EpochTimes, cached: EpochTimes) -> dict[str, list[float]]:
    return {
        "front": without.seconds["front"][1:] + cached.seconds["front"][1:],
        "context": without.seconds["context"][1:],
        "context, writing": cached.seconds["context"][:1],
        "context, cached": cached.seconds["context"][1:],
    }


def _of_context(crop_size: Any) -> CropSize:
    size = crop_size["context"] if isinstance(crop_size, dict) else crop_size
    return size if isinstance(size, int) else (int(size[0]), int(size[1]))


def _in_own_process(options: dict[str, Any], threads: int) -> dict[str, Any]:
    words = [sys.executable, "-m", "scripts.benchmarks.frozen", json.dumps(options)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}  # used by a training regardless of load
    done = subprocess.run(words, cwd=project_root(), env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise UserError(f"the trainings ended with code {done.returncode} ({last})")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


if __name__ == "__main__":
    print("\n", json.dumps(measure(json.loads(sys.argv[1]))))
