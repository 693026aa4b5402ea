"""Training start by number of images: processor seconds and memory from the command to the first iteration.

    python -m scripts.benchmark scale [--images 100,100000] [--json]

Images are tiny (64 x 48), so that the number of files matters and not their size. The first start reads all files; the
second skips files known from the first. A dataset of 100,000 images takes a minute to create and 1 GB.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from engines.base.paths import project_root
from scripts.measuring.whole_numbers import whole_numbers
from transforms.digests import array_sha256
from transforms.known_files import SETTLED, VARIABLE

RUN = """
import json, os, runpy, sys, time
from ignite.engine import Engine, Events
from engines.training.training_progress import peak_memory_gb
fire = Engine._fire_event
def note(engine, event, *args, **kwargs):
    if event == Events.ITERATION_STARTED:
        print("\\n", json.dumps([time.process_time(), 1000 * peak_memory_gb()]), flush=True)
        os._exit(0)
    return fire(engine, event, *args, **kwargs)
Engine._fire_event = note
runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
"""
VALIDATION = 20


@dataclass(frozen=True)
class Start:
    """Processor seconds and peak memory in MB up to the first iteration."""

    images: int
    first_seconds: float
    second_seconds: float
    megabytes: float


def scale(
    images: Annotated[str, typer.Option(help="Comma-separated numbers of training images.")] = "100,100000",
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time the start of a training by number of images."""
    found, numbers = [], whole_numbers(images, "--images")
    with tempfile.TemporaryDirectory() as made:
        for number in numbers:
            folder = Path(made, str(number))
            _dataset(folder / "data", number)
            (first, _), (second, memory) = _start(folder, 0), _start(folder, 1)
            found.append(Start(number, first, second, memory))
            shutil.rmtree(folder)
    if as_json:
        print(json.dumps([asdict(each) for each in found]))
        return
    table = Table("images", "first start, CPU s", "second start, CPU s", "peak memory, MB")
    for each in found:
        seconds = (f"{value:.1f}" for value in (each.first_seconds, each.second_seconds))
        table.add_row(f"{each.images:,}", *seconds, f"{each.megabytes:.0f}")
    Console().print(table)


def _dataset(folder: Path, number: int) -> None:
    """Write a dataset folder with `number` training images, four per subject."""
    rows = np.arange(64)[:, None] * np.ones((1, 48))
    sections: dict[str, list[dict[str, Any]]] = {}
    for section, count, sign in (("training", number, 1), ("validation", VALIDATION, -1)):
        image = (2000 + sign * 20 * rows).astype(np.uint16)
        label = (image > 2500).astype(np.uint8)
        digests = {"image_sha256": array_sha256(image), "label_sha256": array_sha256(label)}
        sections[section] = []
        for index in range(count):
            names = {kind: f"{kind}s/{section[0]}{index:07d}.npy" for kind in ("image", "label")}
            for kind, array in (("image", image), ("label", label)):
                path = folder / names[kind]
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, array)
            about = {"subject": f"{section[0]}{index // 4}", "laterality": "L", "view": "CC", "spacing_mm": [0.1, 0.1]}
            ranges = {"intensity_range": [0, 4095], "source_sha256": digests["image_sha256"]}
            sections[section].append({**names, **about, **ranges, **digests})
    head = {"format_version": 1, "name": "scale", "labels": {"0": "background", "1": "tissue"}, "ignore_label": None}
    content = {**head, "pixel_fraction": {"background": 0.5, "tissue": 0.5}, **sections}
    (folder / "dataset.json").write_text(json.dumps(content))


def _start(folder: Path, number: int) -> tuple[float, float]:
    """Return processor seconds and MB of one start.

    Raises:
        ValueError: the command failed; the message ends with its output.
    """
    options = {
        "config_file": str(project_root() / "bundles" / "unet" / "configs" / "train.json"),
        "dataset_dir": str(folder / "data"),
        "output_dir": str(folder / f"out-{number}"),
        "tracking_uri": str(folder / "mlflow.db"),
        "image_height": "$None",
        "crop_size": "32",
    }
    environment = {**os.environ, VARIABLE: str(folder / "cache")}
    if number == 0:
        time.sleep(SETTLED)  # files changed just before a start are read again at the next start
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    command = [sys.executable, "-c", RUN, "run", "training", *words]
    done = subprocess.run(command, cwd=project_root(), env=environment, capture_output=True, text=True)
    try:
        seconds, memory = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise ValueError(f"the training failed: {' '.join((done.stdout + done.stderr).split()[-30:])}") from None
    return seconds, memory
