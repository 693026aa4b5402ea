"""Measurement of all groups of rows within a time limit, each written immediately; see `scripts.benchmarks.gpu`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from engines.base.paths import project_root
from scripts.measuring import rows
from scripts.measuring.gpu_groups import groups
from scripts.measuring.one_group import MARK
from scripts.measuring.timing import device_name, device_of
from transforms.errors import UserError


def run_groups(minutes: float, out: Path, device: str = "", tiny: bool = False, only: str = "") -> int:
    """Measure rows missing from the file and print all; return how many failed or did not fit.

    Raises:
        UserError: the device is not available, or no group matches `only`.
    """
    end = time.monotonic() + 60 * minutes
    used = device_of(device)
    todo = [group for group in groups(tiny) if only in group.name]
    if not todo:
        names = ", ".join(group.name for group in groups(tiny))
        raise UserError(f"--only {only}: matches no group; choose from {names}")
    name, left = device_name(used), 0
    starts = Starts(ahead=used.type == "cuda")
    for group in todo:
        finished = {row.key for row in rows.read(out) if row.seconds is not None}
        ways = [way for way in group.ways if (group.name, way, name, torch.__version__) not in finished]
        room = end - time.monotonic()
        if ways and room < group.seconds:
            print(f"not run: {group.name}, {len(ways)} rows: {room:.0f} s left, may take {group.seconds:.0f} s")
        elif ways:
            _measure(starts, {"group": group.name, "ways": ways, "device": str(used), "tiny": tiny}, room, out)
        done = {row.key for row in rows.read(out) if row.seconds is not None}
        left += sum((group.name, way, name, torch.__version__) not in done for way in ways)
    starts.end()
    mine = [row for row in rows.read(out) if row.device == name and row.torch == torch.__version__]
    latest = {row.key: row for row in mine}
    print(f"{name}, torch {torch.__version__}\n{rows.table(latest.values())}")
    return left


class Starts:
    """Processes that wait for a task; with `ahead`, the next one starts on another core while one measures."""

    def __init__(self, ahead: bool) -> None:
        self._ahead = ahead
        self._waiting = self._start() if ahead else None

    def next(self) -> subprocess.Popen[str]:
        """Return a process that waits for its task."""
        process = self._waiting or self._start()
        self._waiting = self._start() if self._ahead else None
        return process

    def end(self) -> None:
        """End the process that is still waiting."""
        if self._waiting is not None:
            self._waiting.kill()
            self._waiting.communicate()

    @staticmethod
    def _start() -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "scripts.measuring.one_group"]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            words, cwd=project_root(), stdin=pipe, stdout=pipe, stderr=pipe, text=True, errors="replace"
        )


def _measure(starts: Starts, task: dict[str, Any], room: float, out: Path) -> None:
    """Measure one group in a separate process, which is killed at the time limit."""
    process = starts.next()
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
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin:
            os.write(process.stdin.fileno(), f"{json.dumps(task)}\n".encode())  # unbuffered: nothing to flush on close
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
        for output in (process.stdout, process.stderr):
            if output is not None:
                output.close()
    if code != 0:
        why = "time limit reached" if over.is_set() else (said or ["no output"])[-1].strip()[:300]
        print(f"{task['group']}: ended with code {code} ({why})", flush=True)
