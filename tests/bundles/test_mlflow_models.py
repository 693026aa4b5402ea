"""Content of MLflow's pages on a training and its evaluation: models, data sets, source, user."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from engines.records.mlflow_models import Weights, add_model, finish_model
from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output
from engines.scoring.confusion_files import write_confusion_files
from scripts.compare import main as compare

Run = Callable[..., None]


def test_a_training_and_its_evaluation(
    run_bundle: Run, tiny_dataset: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every stage is a logged model with its scores on the data set; the evaluation's scores belong to the last."""
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME", raising=False)
    run_bundle(dataset_dir=str(tiny_dataset), max_epochs=1, stages=["front", "context"], user="reader 2")
    run_bundle("evaluate", dataset_dir=str(tiny_dataset), section="training")
    client = MlflowClient(f"sqlite:///{store}")
    experiment = client.get_experiment_by_name("mammoseg")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    runs = {
        run.data.tags.get("stage", "") + run.data.tags["kind"]: run
        for run in client.search_runs(experiment.experiment_id)
    }
    training, front, evaluation = (
        runs["training"],
        runs["frontstage"],
        client.get_run(runs["contextevaluation"].info.run_id),
    )
    assert training.data.tags["mlflow.source.name"] == "bundles/dilation10/configs/train.json"
    assert training.data.tags["mlflow.source.type"] == "LOCAL"
    assert len(training.data.tags["mlflow.source.git.commit"]) == 40
    assert training.data.tags["mlflow.user"] == front.data.tags["mlflow.user"] == "reader 2"
    assert "mlflow.user" not in evaluation.data.tags

    mlflow.set_tracking_uri(f"sqlite:///{store}")
    models = {m.name: m for m in mlflow.search_logged_models([experiment.experiment_id], output_format="list")}
    assert set(models) == {"dilation10-front", "dilation10"}
    last, first = models["dilation10"], models["dilation10-front"]
    assert {model.status for model in models.values()} == {"READY"}
    assert (last.source_run_id, first.source_run_id) == (training.info.run_id, front.info.run_id)
    assert last.params["network"] == "Dilation10"
    assert last.params["dataset"] == evaluation.inputs.dataset_inputs[0].dataset.name
    assert {output.model_id for output in training.outputs.model_outputs} == {last.model_id, first.model_id}
    assert [model.model_id for model in evaluation.inputs.model_inputs] == [last.model_id]
    digest = json.loads((tmp_path / "out" / "models" / "context.json").read_text())["weights_sha256"]
    assert last.tags["weights_sha256"] == digest

    for _ in range(2):  # the second time nothing is new
        assert (
            compare(["--tracking_uri", str(store), "--out", str(tmp_path / "c"), "--draws", "100", "--register", "m"])
            == 0
        )
    versions = client.search_model_versions("name = 'm'")
    assert sorted(version.tags["model_id"] for version in versions) == sorted([last.model_id, first.model_id])
    assert client.get_model_version_by_alias("m", "best").version in {version.version for version in versions}
    values = {metric.run_id: metric for metric in last.metrics if metric.key == "mean_iou"}
    assert values[training.info.run_id].value == training.data.metrics["mean_iou"]
    assert values[evaluation.info.run_id].value == evaluation.data.metrics["mean_iou"]
    data = evaluation.inputs.dataset_inputs[0].dataset
    assert {(m.dataset_name, m.dataset_digest) for m in last.metrics} == {(data.name, data.digest)}
    assert json.loads(data.profile)["num_rows"] == sum(
        json.loads(data.profile)[f"{s}_images"] for s in ("training", "validation")
    )
    assert {m.value for m in first.metrics if m.key == "mean_iou"} == {front.data.metrics["best/mean_iou"]}
    found = mlflow.search_logged_models(
        [experiment.experiment_id],
        filter_string=f"metrics.mean_iou >= {values[training.info.run_id].value}",
        output_format="list",
    )
    assert last.model_id in {model.model_id for model in found}


@pytest.mark.parametrize("fails", [False, True])
def test_models_are_registered_in_the_store_that_is_given_and_nothing_else_is_touched(
    fails: bool, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From any folder, without a store set for the process; a failure is one line and leaves no registered model."""
    matrices = {f"s{number}": np.diag([50, 9]) for number in range(3)}
    about = {
        "labels": {"0": "background", "1": "tumor"},
        "dataset": "d",
        "dataset_digest": "0" * 64,
        "split_digest": "s",
    }
    tracking = Tracking("mammoseg", "unet", str(store))
    tracking.start()
    tracking.start_stage("unet", {})
    for path in write_confusion_files(Output(str(tmp_path / "out")), "unet", matrices, about, "validation"):
        tracking.log_artifacts(path, "eval", tracking.stage_run_id)
    model = add_model(tracking, "unet", Weights("unet", "1" * 64, 1), tracking.stage_run_id)
    assert finish_model(tracking, model)
    tracking.end_stage({})
    tracking.end("FINISHED")

    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("no room\nfor more")

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = mlflow.get_tracking_uri(), dict(os.environ)
    if fails:
        monkeypatch.setattr(MlflowClient, "create_model_version", refuse)
    capsys.readouterr()
    words = ["--tracking_uri", str(store), "--out", str(tmp_path / "c"), "--draws", "100", "--register", "m"]
    assert compare(words) == (2 if fails else 0)
    client = MlflowClient(f"sqlite:///{store}")
    if fails:
        errors = capsys.readouterr().err.splitlines()
        assert errors[-1].startswith("error: --register m: refused by sqlite:")
        assert errors[-1].endswith(" (no room); give another --tracking_uri")
        assert not client.search_registered_models()
    else:
        version = client.get_model_version_by_alias("m", "best")
        assert version.tags["model_id"] == model
        assert client.get_model_version_download_uri("m", version.version).endswith(f"{model}/artifacts")
    assert not list((tmp_path / "here").iterdir())
    assert (mlflow.get_tracking_uri(), dict(os.environ)) == before
