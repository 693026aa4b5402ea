"""Source, commit, user and kind of experiment; values that a store refuses."""

from __future__ import annotations

import logging
from pathlib import Path
from unittest.mock import patch

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from engines.records.mlflow_models import Weights, add_model, finish_model, model_name
from engines.records.mlflow_run import Tracking
from engines.records.mlflow_tags import context_tags, experiment_id
from engines.records.system_monitor import SystemMonitor
from transforms.errors import UserError


@pytest.mark.parametrize(
    ("option", "variable", "expected"),
    [(None, "", None), (None, "clara", "clara"), ("reader 1", "clara", "reader 1"), ("reader 1", "", "reader 1")],
)
def test_user_only_if_given(
    monkeypatch: pytest.MonkeyPatch, option: str | None, variable: str, expected: str | None
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", variable)
    monkeypatch.setenv("USER", "login name")
    tags = context_tags("bundles/unet/configs/train.json", option)
    assert tags.get("mlflow.user") == expected
    assert "login name" not in tags.values()
    assert tags["mlflow.source.name"] == "bundles/unet/configs/train.json"
    assert {key for key in tags if "git" in key} <= {f"mlflow.source.git.{k}" for k in ("commit", "branch", "dirty")}


def test_no_path_in_a_tag(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("engines.records.mlflow_tags.code_root", lambda: tmp_path)
    assert context_tags("") == context_tags("", None)
    assert not [key for key in context_tags("") if "git" in key]


def test_an_experiment_that_is_there_keeps_its_kind(store: Path) -> None:
    uri = f"sqlite:///{store}"
    client = MlflowClient(uri)
    other = client.create_experiment("theirs")
    assert experiment_id(client, "theirs", uri) == other
    assert "mlflow.experimentKind" not in client.get_experiment(other).tags
    ours = client.get_experiment(experiment_id(client, "ours", uri))
    assert ours.tags["mlflow.experimentKind"] == "custom_model_development"
    assert ours.artifact_location.endswith("/mlruns")


def test_a_model_is_logged_once_and_listed_without_files(store: Path) -> None:
    tracking = Tracking("e", "r", str(store), params={"dataset": "d", "dataset_digest": "0123", "network": "UNet"})
    tracking.start()
    weights = Weights("unet", "ab" * 32, 3, {"mean_iou": 0.5, "dice/x": float("nan")})
    model = add_model(tracking, "unet", weights, tracking.run_id)
    assert model is not None
    assert add_model(tracking, "unet", weights, tracking.run_id) == model
    assert finish_model(tracking, model)
    found = MlflowClient(f"sqlite:///{store}").get_logged_model(model)
    assert (found.name, found.status, found.params) == ("unet", "READY", {"dataset": "d", "network": "UNet"})
    assert [(m.key, m.value, m.step, m.dataset_name, m.dataset_digest) for m in found.metrics] == [
        ("mean_iou", 0.5, 3, "d", "0123")
    ]


@pytest.mark.parametrize("lost", ["log_outputs", "log_batch"])
def test_a_model_whose_process_was_killed_while_it_was_logged_gets_the_rest(store: Path, lost: str) -> None:
    params = {"dataset": "d", "dataset_digest": "0123"}
    first, second = Tracking("e", "r", str(store), params), Tracking("e", "r", str(store), params)
    first.start()
    weights, client = Weights("unet", "ab" * 32, 3, {"mean_iou": 0.5}), MlflowClient(f"sqlite:///{store}")
    with patch.object(MlflowClient, lost, side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        add_model(first, "unet", weights, first.run_id)
    second.start(first.run_id)
    model = add_model(second, "unet", weights, first.run_id)
    made = client.search_logged_models([client.get_experiment_by_name("e").experiment_id])
    assert [each.model_id for each in made] == [model]
    assert [output.model_id for output in client.get_run(first.run_id).outputs.model_outputs] == [model]
    assert [(m.key, m.value) for m in made[0].metrics] == [("mean_iou", 0.5)]
    assert len(client.get_metric_history(first.run_id, "mean_iou")) == 1


def test_a_server_without_models_costs_one_line(
    store: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("API request failed with error code 404\nand more")

    monkeypatch.setattr(MlflowClient, "create_logged_model", refuse)
    tracking = Tracking("e", "r", str(store))
    tracking.start()
    with caplog.at_level(logging.WARNING, "mammoseg"):
        assert add_model(tracking, "unet", Weights("unet", "", 1), tracking.run_id) is None
    (line,) = [record.getMessage() for record in caplog.records if record.name == "mammoseg"]
    assert line.endswith("does not accept logged models (API request failed with error code 404).")
    assert not tracking.failed


def test_names_that_mlflow_refuses() -> None:
    assert model_name("dilation10", "front") == "dilation10-front"
    assert model_name("a/b:c.d%e'f\"g") == "a_b_c_d_e_f_g"


def test_system_metrics_need_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.records.system_monitor.find_spec", lambda _: None)
    with pytest.raises(UserError, match="needs the package psutil; pip install psutil"):
        SystemMonitor()
    Tracking("e", "r", system_metrics="false")
    with pytest.raises(UserError, match="--system_metrics x: expected true or false"):
        Tracking("e", "r", system_metrics="x")
