"""Time of comparing the runs of a tracking store, by number of runs.

    python -m scripts.benchmark store [--trainings 5,500] [--repeats 3] [--json]

The store is that of one short U-Net training, whose two runs are copied in the database. Each copy has its own seed,
learning rate and scores, for 40 subjects and five classes. Measures processor seconds of `scripts.compare`, including
its page, against a program that only imports MLflow and searches the runs.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from engines.base.paths import project_root
from scripts.benchmarks.start import processor_seconds
from scripts.measuring.copied_store import multiply
from scripts.measuring.whole_numbers import whole_numbers

SEARCH = """
import sys, mlflow
client = mlflow.MlflowClient(sys.argv[1])
experiments = [each.experiment_id for each in client.search_experiments()]
token, runs = None, 0
while token != "":
    page = client.search_runs(experiments, max_results=500, page_token=token)
    token, runs = page.token or "", runs + len(page)
assert runs == int(sys.argv[2]), runs
"""


@dataclass(frozen=True)
class Compared:
    """Processor seconds of a comparison, and of a bare search, per repeat."""

    runs: int
    compare: list[float]
    search: list[float]


def store(
    trainings: Annotated[str, typer.Option(help="Comma-separated numbers of trainings, with two runs each.")] = "5,500",
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions; the median is reported.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time the comparison of a tracking store by number of runs, against MLflow's own search."""
    numbers = whole_numbers(trainings, "--trainings")
    with tempfile.TemporaryDirectory() as made:
        one = _one_training(Path(made))
        found = [_compared(one, Path(made, str(number)), number, repeats) for number in numbers]
    if as_json:
        print(json.dumps([asdict(each) for each in found]))
        return
    table = Table("runs", "compare, CPU s", "imports and search, CPU s", "ratio")
    for each in found:
        spread = f"{median(each.compare):.2f} ({min(each.compare):.2f} to {max(each.compare):.2f})"
        ratio = median(each.compare) / median(each.search)
        table.add_row(f"{each.runs:,}", spread, f"{median(each.search):.2f}", f"{ratio:.2f}")
    Console().print(table)


def _one_training(folder: Path) -> Path:
    """Create a store with one training; return its database."""
    from scripts.sample import make_sample

    data = make_sample(folder / "sample", subjects=4, height=128, progress=False)
    options = {
        "config_file": project_root() / "bundles" / "unet" / "configs" / "train.json",
        "dataset_dir": data,
        "output_dir": folder / "output",
        "tracking_uri": folder / "mlflow.db",
        "max_epochs": 1,
        "fine_tuning": "$None",
        "width": 0.05,
        "log_model": "false",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    processor_seconds(["-m", "monai.bundle", "run", "training", *words])
    return folder / "mlflow.db"


def _compared(one: Path, folder: Path, trainings: int, repeats: int) -> Compared:
    folder.mkdir()
    database = folder / "mlflow.db"
    shutil.copy(one, database)
    runs, uri = multiply(database, trainings), f"sqlite:///{database}"
    compare = ["-m", "scripts.compare", "--tracking_uri", uri, "--out", str(folder / "comparison")]
    times = [
        (processor_seconds(compare), processor_seconds(["-c", SEARCH, uri, str(runs)])) for _ in range(repeats + 1)
    ][1:]
    return Compared(runs, *map(list, zip(*times, strict=True)))
