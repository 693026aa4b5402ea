"""Run of benchmarks one after the other, and their table; see `scripts.benchmarks.table`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from engines.base.paths import project_root
from scripts.measuring import rows
from scripts.measuring.targets import Line, Task, gpu_lines, tasks
from transforms.errors import UserError

HEAD = ("what", "here", "against", "ratio", "target")


def run_tasks(
    out: Path, minutes: float, only: str = "", peers_python: Path | None = None, gpu_rows: Path | None = None
) -> None:
    """Run benchmarks missing from the file, and print all.

    Raises:
        UserError: no benchmark matches `only`, or the file holds something else.
    """
    chosen = [task for task in tasks() if only in task.name]
    if not chosen:
        raise UserError(f"--only {only}: matches no benchmark; choose from {', '.join(task.name for task in tasks())}")
    end = time.monotonic() + 60 * minutes
    for task in chosen:
        if task.name in _finished(out) or time.monotonic() >= end:
            continue
        print(f"{task.name}: about {task.minutes:g} minutes", file=sys.stderr, flush=True)
        rows.append_line(
            out, {"task": task.name, "device": device(), "torch": torch.__version__, **_measured(task, peers_python)}
        )
    print(markdown(_latest(out), rows.read(gpu_rows) if gpu_rows else []))


def device() -> str:
    """Return the processor, to put the figures in context."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else 'cpu'}, {os.cpu_count()} processors"


def _measured(task: Task, peers_python: Path | None) -> dict[str, Any]:
    """Run a benchmark; return its figures, or a note with the reason for failure."""
    python = str(peers_python) if task.foreign and peers_python else sys.executable
    environment = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(project_root())}
    if task.name == "together":  # its trainings choose their threads
        del environment["OMP_NUM_THREADS"]
    words = [python, "-m", "scripts.benchmark", *task.words]
    done = subprocess.run(words, cwd=project_root(), env={**os.environ, **environment}, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    try:
        if done.returncode:
            raise ValueError
        return {"found": json.loads(lines[-1])}
    except (ValueError, IndexError):
        said = (done.stderr.strip().splitlines() or lines or ["no output"])[-1]
        return {"note": " ".join(said.split())[:200]}


def _latest(path: Path) -> dict[str, dict[str, Any]]:
    """Return the last entry of each benchmark on this device with this version of torch."""

    def entry(line: str) -> tuple[tuple[str, str, str], dict[str, Any]]:
        said = json.loads(line)
        return (said["task"], said["device"], said["torch"]), said

    found = dict(rows.read_lines(path, entry, "benchmark"))
    here = device(), torch.__version__
    return {task: said for (task, *where), said in found.items() if tuple(where) == here}


def _finished(path: Path) -> set[str]:
    return {name for name, entry in _latest(path).items() if "found" in entry}


def markdown(entries: Mapping[str, Mapping[str, Any]], gpu_rows: Sequence[rows.Row] = ()) -> str:
    """Return the table; benchmarks that were not run are listed as "not run"."""
    lines: list[Line] = []
    for task in tasks():
        entry = entries.get(task.name, {})
        if "found" in entry:
            lines += task.read(entry["found"])
        else:
            why = str(entry.get("note", ""))
            lines.append(Line(task.name, f"not run{': ' if why else ''}{why}", "", ""))
    lines += list(gpu_lines(gpu_rows)) or [Line("on a GPU: steps, iterations, whole images", "not run", "", "")]
    cells = [(each.what, each.here, each.against, each.ratio, each.target) for each in lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in [HEAD, ("---",) * len(HEAD), *cells])
