"""All groups of rows within a number of minutes, each written as it is measured; see `scripts.benchmarks.gpu`."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from engines.base.paths import project_root
from scripts.measuring import rows
from scripts.measuring.gpu_groups import Group, groups
from scripts.measuring.one_group import MARK
from scripts.measuring.timing import device_name
from transforms.errors import UserError

Measure = Callable[[Group, Sequence[str], float], str]
"""Of a group its ways and the seconds left; why it ended early, or nothing."""


def run_groups(minutes: float, out: Path, device: str = "", tiny: bool = False, only: str = "") -> int:
    """Measure what the file lacks, and print its rows; how many could not be measured or did not fit.

    Raises:
        UserError: no such device, or nothing to measure.
    """
    end = time.monotonic() + 60 * minutes
    used = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if used.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"--device {device}: there is no GPU that PyTorch can use; give cpu")
    todo = [group for group in groups(tiny) if only in group.name]
    if not todo:
        names = ", ".join(group.name for group in groups(tiny))
        raise UserError(f"--only {only}: in no group's name; there are {names}")
    name, left = device_name(used), 0
    for group in todo:
        finished = {row.key for row in rows.read(out) if row.seconds is not None}
        ways = [way for way in group.ways if (group.name, way, name, torch.__version__) not in finished]
        room = end - time.monotonic()
        if ways and room < group.seconds:
            print(f"not run: {group.name}, {len(ways)} rows: {room:.0f} s left, may take {group.seconds:.0f}")
        elif ways:
            _measure(group, ways, used, tiny, room, out)
        done = {row.key for row in rows.read(out) if row.seconds is not None}
        left += sum((group.name, way, name, torch.__version__) not in done for way in ways)
    mine = [row for row in rows.read(out) if row.device == name and row.torch == torch.__version__]
    latest = {row.key: row for row in mine}
    print(f"{name}, torch {torch.__version__}\n{rows.table(latest.values())}")
    return left


def _measure(group: Group, ways: Sequence[str], device: torch.device, tiny: bool, room: float, out: Path) -> None:
    """One group in a process of its own, which is ended when the time is over."""
    task = json.dumps({"group": group.name, "ways": list(ways), "device": str(device), "tiny": tiny})
    words = [sys.executable, "-m", "scripts.measuring.one_group", task]
    process = subprocess.Popen(
        words, cwd=project_root(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True)
    reader.start()
    over = threading.Event()

    def end() -> None:
        over.set()
        process.kill()

    timer = threading.Timer(room, end)
    timer.start()
    try:
        for line in process.stdout or ():
            if line.startswith(MARK):
                row = rows.Row(**json.loads(line[len(MARK) :]))
                rows.append(out, row)
                told = row.note if row.seconds is None else f"{row.seconds:.4f} s"
                print(f"{row.group}, {row.way}: {told}", flush=True)
    finally:
        timer.cancel()
        process.kill()
        code = process.wait()
        reader.join(5)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    if code != 0:
        why = "the time is over" if over.is_set() else (said or ["nothing said"])[-1].strip()[:300]
        print(f"{group.name}: ended with code {code} ({why})", flush=True)
