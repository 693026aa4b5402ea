"""Faults around a training: damaged states, changed data, two at once, kills before the first epoch."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundle_process import BundleProcess, arguments, run
from mlflow.tracking import MlflowClient
from refusals import refused
from repository import ROOT

from engines.base.lock import locked
from engines.records.tables import read_csv

Run = Callable[..., None]
UNET: dict[str, Any] = {"bundle": "unet", "patience": 0, "learning_rate": 0.01}


def last_state(out: Path) -> dict[str, Any]:
    return dict(torch.load(out / "models" / "progress.pt", weights_only=True))


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for at in range(len(content) // 2, len(content) // 2 + 300):
        content[at] ^= 0x55
    path.write_bytes(bytes(content))


def points(store: Path, name: str) -> list[list[tuple[int, float]]]:
    """Return (step, value) of a metric in every run that has it."""
    client = MlflowClient(f"sqlite:///{store}")
    runs = client.search_runs([client.get_experiment_by_name("mammoseg").experiment_id])
    found = [[(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)] for run in runs]
    return [history for history in found if history]


def test_a_damaged_state_costs_an_epoch_and_ends_with_the_same_weights(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, store: Path
) -> None:
    options = {**UNET, "dataset_dir": str(tiny_dataset)}
    run_bundle(**options, max_epochs=4, output_dir=str(tmp_path / "whole"))
    run_bundle(**options, max_epochs=3)
    out = tmp_path / "out"
    damage(out / "models" / "progress.pt")
    table = (out / "eval" / "epochs.csv").read_text()
    as_a_spreadsheet = table.replace(",", ";").replace(".", ",").replace("\n", "\r\n")
    (out / "eval" / "epochs.csv").write_bytes(as_a_spreadsheet.encode("utf-8-sig"))
    run_bundle(**options, max_epochs=4, resume=True)
    whole, resumed = last_state(tmp_path / "whole"), last_state(out)
    assert all(torch.equal(resumed["network"][name], value) for name, value in whole["network"].items())
    assert resumed["best"]["epoch"] == whole["best"]["epoch"]
    rows = read_csv(out / "eval" / "epochs.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    same = read_csv(tmp_path / "whole" / "eval" / "epochs.csv")
    assert [float(row["train_loss"]) for row in rows] == [float(row["train_loss"]) for row in same]
    for history in points(store, "train_loss"):
        assert [step for step, _ in history] == [1, 2, 3, 4]  # epoch 3 came twice and is logged once
    for history in points(store, "best/mean_iou"):
        assert len(history) == 1 or history[0][1] != history[1][1]


def test_other_data_or_two_at_once_are_refused_before_anything_is_touched(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path
) -> None:
    options = {**UNET, "dataset_dir": str(tiny_dataset)}
    run_bundle(**options, max_epochs=1)
    out = tmp_path / "out"

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}

    before = files()
    with locked(out, "training", "--output_dir"), refused(f"in use by a training (process {os.getpid()} on"):
        run_bundle(**options, max_epochs=2)
    label = tiny_dataset / "labels" / "s000_L_CC.npy"
    kept, facts = label.read_bytes(), label.stat()
    array = np.load(label)
    array[0, 0] = 2
    np.save(label, array)
    with refused("labels/s000_L_CC.npy: other content"):
        run_bundle(**options, max_epochs=2, resume=True)
    os.utime(label, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    with refused("other content"):
        run_bundle(**options, max_epochs=2, resume=True, verify=True)
    assert files() == before
    label.write_bytes(kept)
    run_bundle(**options, max_epochs=2, resume=True)
    assert last_state(out)["epoch"] == 2


def test_two_evaluations_of_a_section_at_once(run_bundle: Run, tiny_dataset: Path, tmp_path: Path) -> None:
    run_bundle(**UNET, dataset_dir=str(tiny_dataset), max_epochs=1)
    out = tmp_path / "out"
    options = {"bundle": "unet", "dataset_dir": str(tiny_dataset)}
    run_bundle("evaluate", **options)
    (folder,) = {path.parent for path in (out / "eval").glob("*/scores.csv")}
    with locked(folder, "evaluation", "--output_dir"), refused("in use by an evaluation"):
        run_bundle("evaluate", **options)
    damage(out / "models" / "model.pt")
    run_bundle("evaluate", **options)  # with the same weights, of the stage
    damage(out / "models" / "unet.pt")
    for config in ("evaluate", "inference"):
        with refused("model.pt: damaged or truncated"):
            run_bundle(config, **options)


def test_weights_of_another_network_and_weights_without_numbers(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path
) -> None:
    run_bundle(**UNET, dataset_dir=str(tiny_dataset), max_epochs=1)
    models = tmp_path / "out" / "models"
    record = json.loads((models / "model.json").read_text())
    del record["weights_sha256"]  # as an older version wrote it
    options = {"bundle": "unet", "dataset_dir": str(tiny_dataset)}
    (models / "model.json").write_text(json.dumps({**record, "width": 0.1}))
    for config in ("evaluate", "inference"):
        with refused("another network than this UNet"):
            run_bundle(config, **options)
    (models / "model.json").write_text(json.dumps(record))
    state = torch.load(models / "model.pt", weights_only=True)
    torch.save({name: value * float("nan") for name, value in state.items()}, models / "model.pt")
    for config in ("evaluate", "inference"):
        with refused("weights are NaN or infinite"):
            run_bundle(config, **options)


def test_a_labelled_data_set_with_a_test_section_alone_is_evaluated(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path
) -> None:
    run_bundle(**UNET, dataset_dir=str(tiny_dataset), max_epochs=1)
    content = json.loads((tiny_dataset / "dataset.json").read_text())
    content.update(test=content["training"] + content["validation"], training=[], validation=[])
    (tiny_dataset / "dataset.json").write_text(json.dumps(content))
    run_bundle("evaluate", bundle="unet", dataset_dir=str(tiny_dataset), section="test")
    (table,) = (tmp_path / "out" / "eval").glob("*/subjects.csv")
    assert len(read_csv(table)) == 6


def test_a_range_that_the_values_leave_is_found_in_a_worker_too(run_bundle: Run, tiny_dataset: Path) -> None:
    path = tiny_dataset / "images" / "s001_L_CC.npy"
    np.save(path, np.full_like(np.load(path), 5000))
    for workers in (0, 1):
        with refused("s001_L_CC: holds values from 5000 to 5000, outside its intensity_range [0, 4095]"):
            run_bundle(**UNET, dataset_dir=str(tiny_dataset), max_epochs=1, num_workers=workers)


def test_a_kill_before_the_first_epoch_is_closed_and_resumed(tiny_dataset: Path, tmp_path: Path, store: Path) -> None:
    out = tmp_path / "out"
    slim = "--width 0.02 --image_height '$None' --batch_size 4 --micro_batch_size 4 --crop_size 24 --log_model False"
    config = ROOT / "bundles" / "unet" / "configs" / "train.json"
    words = arguments("training", config, "--dataset_dir", tiny_dataset, *shlex.split(slim))
    words += ["--tracking_uri", str(store), "--patience", "0", "--output_dir", str(out)]
    client = MlflowClient(f"sqlite:///{store}")

    def statuses() -> list[str]:
        experiment = client.get_experiment_by_name("mammoseg")
        return sorted(r.info.status for r in client.search_runs([experiment.experiment_id])) if experiment else []

    process = BundleProcess([*words, "--max_epochs", "2", "--crops_per_image", "50000"])
    deadline = time.monotonic() + 200
    while len(statuses()) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert statuses() == ["RUNNING", "RUNNING"]
    assert last_state(out)["epoch"] == 0
    (out / "models" / ".part-1.pt").touch()
    ends = [*words, "--max_epochs", "1", "--crops_per_image", "50000", "--resume", "true", "--crops_per_image", "2"]
    done = run(ends)
    assert "crops_per_image: 50000 → 2" in done.stderr  # another training
    assert statuses() == ["KILLED", "KILLED"]  # closed by the attempt: its process does not exist any more
    fresh = [*words, "--max_epochs", "1", "--crops_per_image", "2"]
    done = run(fresh)
    assert done.returncode == 0, done.stderr
    assert statuses() == ["FINISHED", "FINISHED", "KILLED", "KILLED"]
    assert not list(out.rglob(".part-*"))
