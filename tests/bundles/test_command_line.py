"""Bundles as started by users: in other processes and folders, killed halfway."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from bundle_process import BundleProcess, arguments
from bundle_process import run as run_forked
from mlflow.tracking import MlflowClient
from repository import ROOT

from engines.records.tables import read_csv

CONFIG = ROOT / "bundles" / "dilation10" / "configs" / "train.json"
SLIM = "--width 0.02 --image_height '$None' --batch_size 4 --micro_batch_size 4 --crop_size 24 --learning_rate 0.001"
SLIM += " --lr_schedule piecewise --val_interval 1"  # a rate that does not depend on max_epochs


def environment() -> dict[str, str]:
    keep = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MLFLOW_DISABLE_TELEMETRY")}
    return {**keep, "OMP_NUM_THREADS": "1"}


def run(words: list[str], cwd: Path = ROOT, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=timeout)


def places(out: Path, store: Path) -> list[str]:
    return ["--output_dir", str(out), "--tracking_uri", str(store)]


@pytest.mark.parametrize("place", ["root", "bundle", "elsewhere"])
def test_a_wrong_path_is_one_line_from_any_folder(place: str, tmp_path: Path) -> None:
    cwd = {"root": ROOT, "bundle": CONFIG.parents[1], "elsewhere": tmp_path}[place]
    config = {"root": "bundles/dilation10/configs/train.json", "bundle": "configs/train.json", "elsewhere": CONFIG}
    words = arguments("training", config[place], "--dataset_dir", "no such folder")
    if place == "root":  # the real interpreter
        result = run([sys.executable, "-m", "monai.bundle", *words], cwd=cwd)
    else:
        result = run_forked(words, cwd, environment())
    assert result.returncode != 0
    errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "no such folder" in errors[0]
    assert "Traceback" not in result.stderr


def test_a_bundle_without_logging_conf_and_metadata_starts(tiny_dataset: Path, tmp_path: Path, store: Path) -> None:
    configs = shutil.copytree(CONFIG.parent, tmp_path / "copied bundle" / "configs")
    (configs / "logging.conf").unlink()
    (configs / "metadata.json").unlink()
    words = arguments(
        "training", configs / "train.json", "--dataset_dir", tiny_dataset, "--stages", "['front']", "--max_epochs", "1",
        *shlex.split(SLIM), *places(tmp_path / "out", store.rename(tmp_path / "a store.db")),
    )  # fmt: skip
    result = run_forked(words, tmp_path, environment())
    assert result.returncode == 0, result.stderr
    assert "Scores on the 2 validation subjects of tiny" in result.stdout
    assert f"mlflow ui --backend-store-uri 'sqlite:///{store.with_name('a store.db')}'" in result.stdout
    assert re.search(r"^ +1/1 +\d\.\d{4} ", result.stdout, re.MULTILINE), "the row of the epoch"


@pytest.mark.slow
def test_a_training_whose_workers_start_from_nothing(tiny_dataset: Path, tmp_path: Path, store: Path) -> None:
    """Workers get everything by pickle, as on Windows and macOS."""
    words = arguments(
        "training", CONFIG, "--dataset_dir", tiny_dataset, "--stages", "['front']", "--max_epochs", "1",
        "--num_workers", "2", *shlex.split(SLIM), *places(tmp_path / "out", store),
    )  # fmt: skip
    program = (
        "import multiprocessing, runpy; multiprocessing.set_start_method('spawn'); "
        "runpy.run_module('monai.bundle', run_name='__main__', alter_sys=True)"
    )
    result = run([sys.executable, "-c", program, *words])
    assert result.returncode == 0, result.stderr
    assert "Scores on the 2 validation subjects of tiny" in result.stdout
    seen = [read_csv(tmp_path / "out" / "eval" / "scores.csv")]
    same = run_forked([*words, "--output_dir", str(tmp_path / "same"), "--num_workers", "0"], environment=environment())
    assert same.returncode == 0, same.stderr
    seen.append(read_csv(tmp_path / "same" / "eval" / "scores.csv"))
    assert seen[0] == seen[1]  # who reads the images does not matter


def test_kill_and_interrupt_then_resume(tiny_dataset: Path, tmp_path: Path, store: Path) -> None:
    options = ["--dataset_dir", tiny_dataset, "--stages", "['front']", "--patience", "0", *shlex.split(SLIM)]
    options += ["--crops_per_image", "10"]  # epochs long enough to be interrupted
    epochs, out = 100_000, tmp_path / "out"
    words = arguments("training", CONFIG, *options, "--max_epochs", str(epochs), *places(out, store))
    progress = out / "models" / "progress.pt"

    def saved_epoch() -> int:
        return int(torch.load(progress, weights_only=True)["epoch"]) if progress.is_file() else 0

    def interrupt(how: signal.Signals, extra: list[str]) -> tuple[int, str]:
        start = saved_epoch()
        process = BundleProcess([*words, *extra], environment=environment())
        deadline = time.monotonic() + 120
        while saved_epoch() < start + 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(how)
        return process.wait(), process.stderr

    assert interrupt(signal.SIGKILL, [])[0] == -signal.SIGKILL
    killed = saved_epoch()
    assert 2 <= killed < epochs
    code, message = interrupt(signal.SIGINT, ["--resume", "true"])
    assert code != 0
    assert "--resume true" in message
    assert "Traceback" not in message
    interrupted = saved_epoch()
    assert killed < interrupted < epochs
    client = MlflowClient(f"sqlite:///{store}")

    def statuses() -> list[str]:
        runs = client.search_runs([client.get_experiment_by_name("mammoseg").experiment_id])
        return sorted(r.info.status for r in runs)

    assert statuses() == ["KILLED", "KILLED"]  # one training, one stage
    code, message = interrupt(signal.SIGTERM, ["--resume", "true"])
    assert code != 0
    assert "Traceback" not in message
    assert statuses() == ["KILLED", "KILLED"]
    interrupted = saved_epoch()

    last = interrupted + 2
    finish = arguments("training", CONFIG, *options, "--max_epochs", str(last))
    result = run_forked([*finish, *places(out, store), "--resume", "true"], environment=environment())
    assert result.returncode == 0, result.stderr
    assert f"Resuming stage front after epoch {interrupted}" in result.stdout
    assert [int(r["epoch"]) for r in read_csv(out / "eval" / "epochs.csv")] == list(range(1, last + 1))
    assert not list(out.rglob(".part-*"))

    assert statuses() == ["FINISHED", "FINISHED"]

    whole = tmp_path / "whole"
    assert run_forked([*finish, *places(whole, store)], environment=environment()).returncode == 0
    once, again = (torch.load(f / "models" / "progress.pt", weights_only=True)["network"] for f in (whole, out))
    assert all(torch.equal(once[name], again[name]) for name in once)


def test_check_names_the_key_of_each_problem(tiny_dataset: Path, tmp_path: Path) -> None:
    words = arguments("check", CONFIG, "--dataset_dir", tiny_dataset, *shlex.split(SLIM))
    good = run_forked(words, environment=environment())
    assert good.returncode == 0, good.stderr
    assert "ready to train" in good.stdout
    assert "logits (4, 3, 24, 24)" in good.stdout
    label = np.load(tiny_dataset / "labels" / "s001_L_CC.npy")
    np.save(tiny_dataset / "labels" / "s001_L_CC.npy", label + 7)
    bad = run_forked([*words, "--width", "-1"], environment=environment())
    assert bad.returncode != 0
    assert re.search(r"problem  dataset_dir: .*s001_L_CC", bad.stdout)
    assert "problem  options: --width -1: expected a number above 0" in bad.stdout
    assert "problem  network" not in bad.stdout
    wrong = run_forked([*words, "--crop_size", "0.5"], environment=environment())
    assert "problem  train::trainer: crop_size of stage 'front' must be a whole number above 0" in wrong.stdout


def test_usage_reports_are_off_unless_the_user_says_otherwise() -> None:
    code = (
        "import mlflow, engines; engines.begin(); from mlflow.telemetry import get_telemetry_client as c; "
        "print('client', c() is not None)"
    )
    quiet = {k: v for k, v in environment().items() if k not in ("CI", "PYTEST_CURRENT_TEST", "DO_NOT_TRACK")}
    result = subprocess.run([sys.executable, "-c", code], env=quiet, capture_output=True, text=True, cwd=ROOT)
    assert "client False" in result.stdout, result.stderr


def test_the_readme_s_shortest_training(tmp_path: Path, store: Path) -> None:
    """The verbatim command of the README, on the sample that it makes."""
    text = [line.strip() for line in (ROOT / "README.md").read_text().splitlines()]
    lines = [line for line in text if line.startswith("python -m monai.bundle") and "--max_epochs 1 " in line]
    assert len(lines) == 1
    words = shlex.split(lines[0])
    assert words[0] == "python"
    result = run([sys.executable, *words[1:], *places(tmp_path / "out", store)])
    assert result.returncode == 0, result.stderr
    assert "validation subjects of sample" in result.stdout
