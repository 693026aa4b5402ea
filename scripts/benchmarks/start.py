"""Start-up time of the help of each command, and of a training up to its first iteration.

    python -m scripts.benchmark start [--repeats 5] [--help-only | --training-only] [--json]

Each is a separate process, including its end, measured in processor seconds (user and system), which depend little on
other load, with the bytecode of an earlier start. All take turns, with an extra first round that is not counted; the
table has the median, fastest and slowest repeat. Help is relative to `python -c "import typer, rich"`, training to
importing torch, MONAI and MLflow. The training is `quick` on a sample of four subjects, stopped at its first
iteration. Two intermediate rows show further imports of any training with these libraries: torch imports its compiler
with the first optimizer, MLflow its database with the first store. These four end immediately, without cleanup.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from engines.base.paths import project_root
from transforms.errors import UserError

BARE = ["-c", "import typer, rich"]
IMPORTS = "import os, sys, torch, monai, mlflow"
END = "os._exit(0)"
WITH_OPTIMIZER = f"{IMPORTS}; torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)"
WITH_STORE = f"{WITH_OPTIMIZER}; mlflow.MlflowClient(sys.argv[1]).search_experiments()"
FIRST_ITERATION = """
import os, runpy, sys
from ignite.engine import Engine, Events
fire = Engine._fire_event
def stop(engine, event, *args, **kwargs):
    if event == Events.ITERATION_STARTED:
        os._exit(0)
    return fire(engine, event, *args, **kwargs)
Engine._fire_event = stop
runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
os._exit(1)
"""


@dataclass(frozen=True)
class Start:
    """Seconds of a command, and the ratio of its median to that of the bare imports."""

    name: str
    seconds: float
    fastest: float
    slowest: float
    ratio: float


def start(
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions; the median is reported.")] = 5,
    help_only: Annotated[bool, typer.Option("--help-only", help="Skip the training.")] = False,
    training_only: Annotated[bool, typer.Option("--training-only", help="Skip the help texts.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time the help of every command, and a training up to its first iteration, against bare imports."""
    if help_only and training_only:
        raise UserError("--help-only, --training-only: exclude each other; give at most one")
    found = [] if training_only else helps(repeats)
    found += [] if help_only else training(repeats)
    if as_json:
        print(json.dumps([asdict(each) for each in found]))
        return
    table = Table("", "seconds", "fastest to slowest", "ratio")
    for each in found:
        spread = f"{each.fastest:.2f} to {each.slowest:.2f}"
        table.add_row(each.name, f"{each.seconds:.2f}", spread, f"{each.ratio:.2f}")
    Console().print(table)


def helps(repeats: int) -> list[Start]:
    """Time bare imports, and the help of every command."""
    each = {f"{' '.join(words)} --help": ["-m", f"scripts.{words[0]}", *words[1:], "--help"] for words in commands()}
    return in_turns({'python -c "import typer, rich"': BARE, **each}, repeats)


def commands() -> list[list[str]]:
    """Return the words of every command and subcommand: ["compare"], ["prepare"], ["prepare", "folder"], …"""
    found = []
    for path in sorted((project_root() / "scripts").glob("*.py")):
        app = getattr(importlib.import_module(f"scripts.{path.stem}"), "app", None)
        if app is not None:
            group: Any = typer.main.get_command(app)
            names = group.list_commands(None) if hasattr(group, "list_commands") else []
            found += [[path.stem], *([path.stem, name] for name in names)]
    return found


def training(repeats: int) -> list[Start]:
    """Time imports, imports with an optimizer and with a store, and a training up to its first iteration."""
    from scripts.sample import make_sample

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        options = {
            "config_file": str(project_root() / "bundles" / "dilation10" / "configs" / "train.json"),
            "dataset_dir": str(make_sample(folder / "sample", subjects=4, height=128, progress=False)),
            "output_dir": str(folder / "output"),
            "tracking_uri": str(folder / "mlflow.db"),
            "force": "true",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        first = ["-c", FIRST_ITERATION, "run", "training", *words]
        processor_seconds(first)  # creates the store
        programs = {
            "import torch, monai, mlflow": ["-c", f"{IMPORTS}; {END}"],
            "the same, and an optimizer": ["-c", f"{WITH_OPTIMIZER}; {END}"],
            "the same, and an open store": ["-c", f"{WITH_STORE}; {END}", f"sqlite:///{folder / 'mlflow.db'}"],
            "training, to the first iteration": first,
        }
        return in_turns(programs, repeats)


def in_turns(programs: Mapping[str, Sequence[str]], repeats: int) -> list[Start]:
    """Time programs, given as arguments of Python, in turns; the first is the base of the ratios."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    for repeat in range(repeats + 1):
        for name, arguments in programs.items():
            seconds = processor_seconds(arguments)
            if repeat:  # the first round writes bytecode
                times[name].append(seconds)
    bare = median(next(iter(times.values())))
    return [Start(name, median(each), min(each), max(each), median(each) / bare) for name, each in times.items()]


def processor_seconds(arguments: Sequence[str]) -> float:
    """Run Python; return its processor seconds, or on Windows its wall time.

    Raises:
        ValueError: the command failed; the message ends with its output.
    """
    before = _spent()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=project_root(), env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{' '.join(arguments[:2])}: {' '.join((done.stdout + done.stderr).split()[-30:])}")
    return _spent() - before


def _spent() -> float:
    try:
        import resource
    except ImportError:
        return time.perf_counter()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
