"""`scripts.compare` reads a store of copied runs like trainings."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pytest

from scripts import benchmark, compare
from scripts.measuring.copied_store import multiply
from scripts.measuring.whole_numbers import whole_numbers
from transforms.errors import UserError


def test_copies_are_compared_as_trainings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = tmp_path / "mlflow.db"
    uri = f"sqlite:///{database}"
    client = mlflow.MlflowClient(uri)
    experiment = client.create_experiment("mammoseg", artifact_location=str(tmp_path / "artifacts"))
    training = client.create_run(experiment, run_name="U-Net")
    stage = client.create_run(experiment, run_name="U-Net", tags={"mlflow.parentRunId": training.info.run_id})
    for key, value in (("stage", "unet"), ("kind", "stage"), ("model", "U-Net")):
        client.set_tag(stage.info.run_id, key, value)
    for run in (training, stage):
        client.log_param(run.info.run_id, "seed", 0)
        client.log_param(run.info.run_id, "learning_rate", 0.1)
        client.log_metric(run.info.run_id, "mean_iou", 0.5)
        client.set_terminated(run.info.run_id)

    assert multiply(database, 6) == 12

    runs = client.search_runs([experiment])
    assert len({run.info.run_id for run in runs}) == 12
    parents = [run.data.tags.get("mlflow.parentRunId") for run in runs]
    assert {run.info.run_id for run, parent in zip(runs, parents, strict=True) if parent is None} == {*parents} - {None}
    params = {(run.data.params["seed"], run.data.params["learning_rate"]) for run in runs}
    assert len(params) == 6
    assert compare.main(["--tracking_uri", uri, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "drawn: 40 validation subjects" in said
    assert "Means over trainings with different seeds: U-Net 3;" in said
    subjects = json.loads(next((tmp_path / "artifacts").rglob("confusion-unet.json")).read_text())["subjects"]
    assert len(subjects) == 40


@pytest.mark.parametrize("words", [["store", "--trainings"], ["scale", "--images"]])
@pytest.mark.parametrize("text", ["abc", "0", "5,,500", "-1", "1.5", ""])
def test_numbers_that_are_none_are_one_line(words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main([*words, text]) == 2
    assert f"{words[1]} {text}: expected comma-separated integers of at least 1" in capsys.readouterr().err


def test_numbers_of_an_option() -> None:
    assert whole_numbers("5, 500,5", "--trainings") == [5, 500]
    assert whole_numbers("0,2", "--workers", lowest=0) == [0, 2]
    with pytest.raises(UserError, match="--workers a: expected comma-separated integers of at least 0"):
        whole_numbers("a", "--workers", lowest=0)
