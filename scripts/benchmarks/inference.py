"""Images per second of a bundle's inference on whole mammograms, sequential and with reading and writing in parallel.

    python -m scripts.benchmark inference [--images 8] [--height 1664] [--workers 0,1,2] [--repeats 3] [--json]

DICOM files of the sample are segmented with weights of a one-epoch training, into all default formats, each time in a
separate process. The time is from the first file read to the last file written. The median is reported.
"""

from __future__ import annotations

import json
import os
import shutil
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
from scripts.measuring.whole_numbers import whole_numbers

RUN = """
import json, sys, time
from monai.bundle import run
from ignite.engine import Engine
start = Engine.run
seen = []
def timed(*args, **kwargs):
    seen.append(time.perf_counter())
    return start(*args, **kwargs)
Engine.run = timed
run(sys.argv[1], **json.loads(sys.argv[2]))
print("\\n", time.perf_counter() - seen[0] if seen else 0)
"""


@dataclass(frozen=True)
class Rate:
    """Images per second: median, slowest and fastest of the repetitions."""

    workers: int
    images: float
    slowest: float
    fastest: float


def inference(
    images: Annotated[int, typer.Option(min=2, help="Images in the folder.")] = 8,
    height: Annotated[int, typer.Option(min=64, help="Rows of each image.")] = 1664,
    workers: Annotated[str, typer.Option(help="Comma-separated values of --workers.")] = "0,1,2",
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions; the median is reported.")] = 3,
    bundle: Annotated[str, typer.Option(help="Bundle to run.")] = "unet",
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time inference on a folder, sequential and parallel."""
    from scripts.sample import make_sample

    numbers = whole_numbers(workers, "--workers", lowest=0)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        small = make_sample(folder / "small", subjects=4, height=192, progress=False)
        _timed(bundle, "train", folder, {"dataset_dir": str(small), "max_epochs": 1, "patience": 0, "log_model": False})
        make_sample(folder / "large", subjects=-(-images // 4) + 2, height=height, progress=False)
        source = folder / "source"
        source.mkdir()
        found = sorted(path for path in (folder / "large" / "source").rglob("*.dcm"))[:images]
        for number, path in enumerate(found):
            shutil.copy(path, source / f"{number:04d}.dcm")
        seconds: dict[int, list[float]] = {number: [] for number in numbers}
        for _ in range(repeats):
            for number in numbers:
                how = {"dataset_dir": str(source), "results_dir": str(folder / f"results-{number}")}
                seconds[number].append(_timed(bundle, "inference", folder, {**how, "workers": number}))
        rates = [
            Rate(n, len(found) / median(times), len(found) / max(times), len(found) / min(times))
            for n, times in seconds.items()
        ]
    if as_json:
        print(json.dumps([asdict(each) for each in rates]))
        return
    table = Table("--workers", "images per second", "slowest to fastest")
    for each in rates:
        table.add_row(str(each.workers), f"{each.images:.2f}", f"{each.slowest:.2f} to {each.fastest:.2f}")
    Console().print(table)


def _timed(bundle: str, config: str, folder: Path, options: Mapping[str, Any]) -> float:
    """Return seconds from the engine's start to the end of the command.

    Raises:
        ValueError: the command failed; the message ends with its output.
    """
    file = project_root() / "bundles" / bundle / "configs" / f"{config}.json"
    store = {"tracking_uri": str(folder / "mlflow.db"), "force": True} if config == "train" else {}
    words = {"config_file": str(file), "output_dir": str(folder / "out"), **store, **options}
    task = "training" if config == "train" else "evaluating"
    command = [sys.executable, "-c", RUN, task, json.dumps(words)]
    done = subprocess.run(command, cwd=project_root(), env=dict(os.environ), capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{task} failed: {' '.join((done.stdout + done.stderr).split()[-30:])}")
    return float(done.stdout.splitlines()[-1])
