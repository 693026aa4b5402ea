"""A training of thousands of tiny epochs: memory, open files and time per epoch stay what they are."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from dataset_factory import make_dataset
from forks import bundle, forked
from kills import PLAIN, words_of

from engines.records.output_folder import Output

SETTLED = 100
"""Epochs after which caches are filled."""
WINDOW = 200
MORE_MB, MORE_FILES, MORE_TIME = 40.0, 2, 1.5
"""What counts as growth: megabytes, open files, times the seconds of an early epoch."""


def run(folder: Path, epochs: int, store: Path) -> dict[str, Any]:
    """Train, or go on with it, and compare early epochs with the last ones."""
    measured = folder / "epochs.jsonl"
    if not (folder / "mlflow.db").exists():
        folder.mkdir(parents=True, exist_ok=True)
        make_dataset(folder / "data", subjects=4, size=(32, 32))
        shutil.copy(store, folder / "mlflow.db")
    options = {
        **{**PLAIN, "bundle": "unet", "max_epochs": epochs, "crop_size": 16, "crops_per_image": 1, "val_interval": 20},
        **{"batch_size": 2, "micro_batch_size": 2, "dataset_dir": folder / "data", "output_dir": folder / "out"},
        **{"tracking_uri": folder / "mlflow.db", "resume": any((folder / "out/models").glob("progress*.pt"))},
    }
    words = words_of("train", options)
    ended = forked(lambda: _measured(bundle(words), measured), folder / "log.txt", 4 * 3600)
    return _summary([json.loads(line) for line in measured.read_text().splitlines()], ended.code, epochs)


def _measured(job: Callable[[], None], path: Path) -> None:
    """Do the job; after each epoch a line is written of what this process has taken."""
    append = Output.append_epoch

    def measure(self: Output, stage: str, epoch: int, metrics: Any) -> None:
        append(self, stage, epoch, metrics)
        row = {
            "epoch": epoch,
            "cpu": time.process_time(),
            "mb": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20,
            "files": len(os.listdir("/proc/self/fd")),
            "threads": threading.active_count(),
        }
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    Output.append_epoch = measure  # type: ignore[method-assign]
    job()


def _summary(rows: list[dict[str, Any]], code: int, epochs: int) -> dict[str, Any]:
    cpu = np.diff([row["cpu"] for row in rows])
    early, late = slice(SETTLED, SETTLED + WINDOW), slice(-WINDOW, None)
    seconds = [float(np.median(cpu[part][cpu[part] > 0])) for part in (early, late)]
    mb = [float(np.median([row["mb"] for row in rows[part]])) for part in (early, late)]
    files = [max(row["files"] for row in rows[part]) for part in (early, late)]
    threads = [max(row["threads"] for row in rows[part]) for part in (early, late)]
    faults = [f"exit code {code}"] if code else []
    faults += [] if rows[-1]["epoch"] == epochs else [f"ended after epoch {rows[-1]['epoch']}"]
    faults += [f"memory grew: {mb[0]:.0f} to {mb[1]:.0f} MB"] if mb[1] - mb[0] > MORE_MB else []
    faults += [f"open files grew: {files}"] if files[1] - files[0] > MORE_FILES else []
    faults += [f"threads grew: {threads}"] if threads[1] > threads[0] else []
    faults += [f"epochs slowed: {seconds}"] if seconds[1] > MORE_TIME * seconds[0] else []
    return {
        "epochs": rows[-1]["epoch"],
        f"memory, epochs {SETTLED} to {SETTLED + WINDOW}": f"{mb[0]:.0f} MB",
        f"memory, last {WINDOW}": f"{mb[1]:.0f} MB",
        "open files, then and at the end": f"{files[0]}, {files[1]}",
        "processor seconds per epoch, then and at the end": f"{seconds[0]:.4f}, {seconds[1]:.4f}",
        "faults": faults,
    }
