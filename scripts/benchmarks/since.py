"""Whole trainings with the code of an earlier commit and with today's: time, memory, and whether results are equal.

    python -m scripts.benchmark since COMMIT [--trainings dilation10:quick,unet:tissue,unet:tumor] [--epochs 2]
        [--subjects 16] [--repeats 1] [--json]

Both get the numbers of today's recipe, as far as the earlier code has such options, with fp32 and instance
normalization and without fine-tuning; the sample is one that the earlier code makes. Each training is a process of its
own with one thread, start, scores and tracking included; both take turns. Needs Linux, git, and the repository's
history.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from engines.base.paths import project_root
from transforms.errors import UserError

RUN = "import json, sys; from monai.bundle import run; run('training', **json.loads(sys.argv[1]))"
SAME: dict[str, Any] = {"fine_tuning": "$None", "precision": "fp32", "norm": "instance"}
"""Options that the earlier code may lack, with the value of what it does."""


@dataclass(frozen=True)
class Whole:
    """A training of one code: medians of the repeats.

    Attributes:
        training: bundle:recipe.
        code: before, or today.
        seconds: from its start to its end.
        processor_seconds: user and system.
        peak_gb: largest resident memory, in GB (10**9 bytes).
        equal: weights and confusion matrices are those of the other code, to the last bit.
    """

    training: str
    code: str
    seconds: float
    processor_seconds: float
    peak_gb: float
    equal: bool


def since(
    commit: Annotated[str, typer.Argument(help="Earlier commit.")],
    trainings: Annotated[
        str, typer.Option(help="bundle:recipe, with commas.")
    ] = "dilation10:quick,unet:tissue,unet:tumor",
    epochs: Annotated[int, typer.Option(min=1, help="Per stage.")] = 2,
    subjects: Annotated[int, typer.Option(min=8, help="Of the sample, four images each.")] = 16,
    repeats: Annotated[int, typer.Option(min=1, help="Of each training; the median counts.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time whole trainings with an earlier commit's code and with today's, and compare their weights and scores."""
    pairs = [text.strip().split(":") for text in trainings.split(",")]
    if any(len(pair) != 2 for pair in pairs):
        raise UserError(f"--trainings {trainings}: expected bundle:recipe, such as unet:tissue")
    with tempfile.TemporaryDirectory() as made, _checkout(commit, Path(made) / "before") as before:
        data = Path(made) / "data"
        words = [sys.executable, "-m", "scripts.sample", str(data), "--subjects", str(subjects)]
        _run(words, before)
        found = [each for pair in pairs for each in _compared(pair[0], pair[1], before, data, epochs, repeats)]
    if as_json:
        print(json.dumps([asdict(each) for each in found]))
        return
    table = Table("training", "code", "seconds", "processor seconds", "peak memory (GB)", "equal results")
    for each in found:
        numbers = (f"{each.seconds:.1f}", f"{each.processor_seconds:.1f}", f"{each.peak_gb:.2f}")
        table.add_row(each.training, each.code, *numbers, "yes" if each.equal else "no")
    Console().print(table)


@contextmanager
def _checkout(commit: str, folder: Path) -> Iterator[Path]:
    """The files of a commit, for as long as they are needed.

    Raises:
        UserError: git has no such commit, or this is no repository.
    """
    git = ["git", "-C", str(project_root()), "worktree"]
    done = subprocess.run([*git, "add", "--detach", str(folder), commit], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{commit}: git cannot check it out ({' '.join(done.stderr.split())[-200:]})")
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], capture_output=True)


def _compared(bundle: str, recipe: str, before: Path, data: Path, epochs: int, repeats: int) -> Iterator[Whole]:
    trees = {"before": before, "today": project_root()}
    configs = {code: _config(tree, bundle) for code, tree in trees.items()}
    if recipe not in configs["today"]["recipes"]:
        raise UserError(f"--trainings {bundle}:{recipe}: unknown recipe")
    options = common_options(configs["today"]["recipes"][recipe], configs["before"])
    options |= {"max_epochs": epochs, "dataset_dir": str(data), "log_model": False, "force": True}
    measured: dict[str, list[tuple[float, float, float]]] = {code: [] for code in trees}
    for _ in range(repeats):
        for code, tree in trees.items():
            out = data.parent / f"{bundle}-{recipe}-{code}"
            own = {key: value for key, value in SAME.items() if key in configs[code]}
            paths = {"output_dir": str(out), "tracking_uri": str(data.parent / f"{code}.db")}
            paths["config_file"] = str(tree / "bundles" / bundle / "configs" / "train.json")
            words = [sys.executable, "-c", RUN, json.dumps(options | own | paths)]
            measured[code].append(_run(words, tree))
    equal = same_results(*(data.parent / f"{bundle}-{recipe}-{code}" for code in trees))
    for code, times in measured.items():
        seconds, processor, peak = (median(column) for column in zip(*times, strict=True))
        yield Whole(f"{bundle}:{recipe}", code, seconds, processor, peak, equal)


def _config(tree: Path, bundle: str) -> dict[str, Any]:
    path = tree / "bundles" / bundle / "configs" / "train.json"
    if not path.is_file():
        raise UserError(f"--trainings {bundle}: no such bundle in {tree.name}")
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return config


def common_options(recipe: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a recipe that the earlier config has options for; all that it has no such option for is `SAME`."""
    known = {key: value for key, value in recipe.items() if key in before and key not in (*SAME, "_desc_")}
    return {key: "$None" if value is None else value for key, value in known.items()}


def same_results(one: Path, other: Path) -> bool:
    """Whether two output folders hold the same weights and confusion matrices."""
    import torch

    weights, others = (torch.load(folder / "models" / "model.pt", weights_only=True) for folder in (one, other))
    if weights.keys() != others.keys() or not all(torch.equal(weights[name], others[name]) for name in weights):
        return False
    names = sorted(path.name for path in (one / "eval").glob("confusion-*.json"))
    counted = [[_matrices(folder / "eval" / name) for name in names] for folder in (one, other)]
    return bool(names) and counted[0] == counted[1]


def _matrices(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))["subjects"]


def _run(words: list[str], tree: Path) -> tuple[float, float, float]:
    """Seconds, processor seconds and peak GB of a command.

    Linux counts the peak from before the program is loaded, so that it is at least what this process held then.

    Raises:
        UserError: it failed; with the end of what it said.
    """
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        start = time.perf_counter()
        process = subprocess.Popen(words, cwd=tree, env=environment, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise UserError(f"{tree.name}: the command failed: {' '.join(said.read().split()[-30:])}")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e9
