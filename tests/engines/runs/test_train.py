"""`engines.train`: checks before, tables and pictures after, and an MLflow run that is always closed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from training_factory import staged_training

from engines.base.lock import locked
from engines.records.tables import read_csv
from engines.runs.train import train
from transforms.dataset import Dataset
from transforms.errors import UserError


def statuses(store: Path) -> dict[str, str]:
    client = MlflowClient(f"sqlite:///{store}")
    (experiment,) = [found for found in client.search_experiments() if found.name == "e"]
    return {run.info.run_name: run.info.status for run in client.search_runs([experiment.experiment_id])}


def test_tables_pictures_and_runs(tiny_dataset: Path, tmp_path: Path, store: Path) -> None:
    data, out = Dataset.load(tiny_dataset), tmp_path / "out"
    training = staged_training(tiny_dataset, out, epochs=1, store=store)
    rows = train(training, data)
    assert list(rows) == ["all background", "offsets", "slopes"]
    assert rows["slopes"]["mean_iou"] == training.results["slopes"]["mean_iou"]
    assert "lesion_sensitivity_at_1fp" in rows["slopes"]
    assert [row["model"] for row in read_csv(out / "eval" / "scores.csv")] == list(rows)
    assert sorted(path.name for path in training.output.panels.glob("*.png")) == ["s004.png", "s005.png"]
    assert training.evaluator.runs == 1 + 1 + 2 + 1  # epoch, lesions; start, epoch; lesions with pictures
    assert statuses(store) == dict.fromkeys(["toy", "toy offsets", "toy slopes"], "FINISHED")
    weights = json.loads((out / "models" / "model.json").read_text())
    assert (weights["stage"], weights["run_id"]) == ("slopes", training.tracking.run_id)


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (ZeroDivisionError, "FAILED")])
def test_a_training_that_breaks_off_closes_its_runs_and_ends_what_reads_for_it(
    tiny_dataset: Path,
    tmp_path: Path,
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    status: str,
) -> None:
    training, ended = staged_training(tiny_dataset, tmp_path / "out", epochs=1, store=store), []
    monkeypatch.setattr("engines.training.epoch_loader.end_reading", ended.append)

    def broken(*args: Any) -> None:
        raise error

    training.trainer.run = broken
    with pytest.raises(error):
        train(training, Dataset.load(tiny_dataset))
    assert statuses(store) == {"toy": status, "toy offsets": status}
    assert ended == [training.trainer, training.evaluator]


def test_what_is_wrong_is_found_before_anything_is_made(tiny_dataset: Path, tmp_path: Path) -> None:
    data, out = Dataset.load(tiny_dataset), tmp_path / "out"
    with pytest.raises(UserError, match="--verify maybe: expected true or false"):
        train(staged_training(tiny_dataset, out), data, verify="maybe")
    with (
        locked(tmp_path / "taken", "training", "--output_dir"),
        pytest.raises(UserError, match="in use by a training"),
    ):
        train(staged_training(tiny_dataset, tmp_path / "taken"), data)
    label = Path(data.items("training")[0]["label"])
    np.save(label, np.full_like(np.load(label), 9))
    with pytest.raises(UserError, match=r"s000_L_CC\.npy: .*9"):
        train(staged_training(tiny_dataset, out), data)
    assert not out.exists()
