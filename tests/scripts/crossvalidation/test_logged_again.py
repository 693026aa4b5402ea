"""Finished folds are logged to a store that lacks them, from their folders and without training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from engines.records.output_folder import Output
from engines.scoring.confusion_files import identity, write_confusion_files
from scripts import compare, crossval
from scripts.crossvalidation.logged_again import TAG
from transforms.dataset import Dataset

STAGES = ("front", "context")


def leave(words: list[str], **_: Any) -> int:
    """Stand-in for the training of a fold without a store, which only writes its files."""
    given = dict(zip(words[5::2], words[6::2], strict=True))
    output, data = Output(given["--output_dir"]), Dataset.load(given["--dataset_dir"])
    number = int(Path(given["--output_dir"]).name.removeprefix("fold-"))
    for place, stage in enumerate(STAGES):
        matrices = {item["subject"]: np.diag([5, 4, 3]) + number + place for item in data.items("validation")}
        write_confusion_files(output, stage, matrices, identity(data), "validation")
        output.save_stage(stage, {}, {"labels": {}}, {"mean_iou": 0.5 + place / 4, "iou/tumor": float("nan")}, 7)
    output.write_config({"stages": [*STAGES], "seed": 0, "max_epochs": 9})
    return 0


def runs(store: Path, kind: str) -> list[Run]:
    client = MlflowClient(f"sqlite:///{store}")
    found = client.search_runs([client.get_experiment_by_name("mammoseg").experiment_id])
    return [run for run in found if run.data.tags["kind"] == kind]


@pytest.fixture
def go(tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], int]:
    monkeypatch.setattr("scripts.crossvalidation.at_once.run_training", leave)
    monkeypatch.setattr("engines.scoring.confusion_files.save_figure", lambda figure, path: path)

    def run(store: Path) -> int:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
        return crossval.main(
            ["dilation10", "--folds", "2", "--out", str(tmp_path / "cv"), "--dataset_dir", str(tiny_dataset), "--json"]
        )

    return run


def test_a_store_that_lacks_finished_folds_gets_them_once(
    go: Callable[[Path], int], tmp_path: Path, store: Path, empty_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert go(store) == 0
    assert not runs(store, "training")
    trained = {path: path.read_bytes() for path in tmp_path.glob("cv/fold-*/models/*")}
    new = Path(shutil.copy(empty_store, tmp_path / "new.db"))
    capsys.readouterr()
    for said in (True, False):  # the second time nothing is missing
        assert go(new) == 0
        printed = capsys.readouterr()
        assert (f"Fold 2 of 2: is not in sqlite:///{new}; logged again from" in " ".join(printed.err.split())) is said
        (parent,) = runs(new, "crossval")
        folds, stages = runs(new, "training"), runs(new, "stage")
        assert sorted(run.data.tags["fold"] for run in folds) == ["1", "2"]
        assert len(stages) == 4
    assert trained == {path: path.read_bytes() for path in trained}
    assert {run.data.tags["crossval"] for run in [*folds, *stages]} == {parent.info.run_id}
    assert {run.data.tags["mlflow.parentRunId"] for run in folds} == {parent.info.run_id}
    assert {run.info.status for run in [parent, *folds, *stages]} == {"FINISHED"}
    assert {run.data.params["max_epochs"] for run in folds} == {"9"}
    assert {run.data.metrics["mean_iou"] for run in folds} == {0.75}
    front = next(run for run in stages if run.data.tags["stage"] == "front")
    assert front.data.metrics == {"best/mean_iou": 0.5, "best/epoch": 7}
    assert TAG in front.data.tags
    rows = json.loads(printed.out)
    assert compare.main(["--crossval", "--out", str(tmp_path / "c"), "--json"]) == 0
    compared = json.loads(capsys.readouterr().out)
    assert [row["model"] for row in compared] == ["all background", "Dilation10 Front", "Dilation10 Context"]
    for key in ("subjects", "mean_iou", "mean_iou_low", "mean_iou_fold_sd", "dataset_digest"):
        assert [row[key] for row in compared] == [row[key] for row in rows]


def test_a_store_that_does_not_answer_stops_nothing(
    go: Callable[[Path], int], tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert go(store) == 0
    (tmp_path / "file").write_text("no folder")
    assert go(tmp_path / "file" / "cannot.db") == 0
    assert "logged again" not in capsys.readouterr().err
