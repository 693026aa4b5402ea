"""A training, its evaluation and a comparison against a real server: PostgreSQL, artifacts over HTTP, passwords."""

from __future__ import annotations

import importlib.util
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.tracking import MlflowClient
from repository import ROOT

from scripts.compare import main

spec = importlib.util.spec_from_file_location("services", ROOT / "mlflow" / "services.py")
assert spec is not None
assert spec.loader is not None
services = importlib.util.module_from_spec(spec)
spec.loader.exec_module(services)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(services.missing()), reason=services.missing()),
]


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("services")
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o755)  # PostgreSQL runs as another user
    found = services.Services(folder)
    found.start()
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    yield found
    found.stop()
    mlflow.set_tracking_uri(None)


def test_against_a_real_server(
    server: Any, run_bundle: Callable[..., None], tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = server.environment["MLFLOW_TRACKING_URI"]
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{uri}/api/2.0/mlflow/experiments/search?max_results=1", timeout=20)
    run_bundle(bundle="unet", dataset_dir=str(tiny_dataset), max_epochs=1, log_model=True, tracking_uri=uri)
    run_bundle("evaluate", bundle="unet", dataset_dir=str(tiny_dataset), tracking_uri=uri)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("mammoseg")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    runs = {run.data.tags["kind"]: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"training", "stage", "evaluation"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert runs["training"].data.tags["mlflow.user"] == "admin"
    (model,) = client.search_logged_models([experiment.experiment_id])
    assert (model.name, model.status) == ("unet", "READY")
    assert {metric.run_id for metric in model.metrics} == {
        runs[kind].info.run_id for kind in ("training", "evaluation")
    }
    mlflow.set_tracking_uri(uri)
    loaded = mlflow.pytorch.load_model(f"models:/{model.model_id}")
    assert sum(p.numel() for p in loaded.parameters()) == int(model.params["parameters"])
    monkeypatch.chdir(tmp_path)
    assert main(["--tracking_uri", uri, "--draws", "100"]) == 0
    assert (tmp_path / "comparison" / "index.html").is_file()
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not [path for path in written if server.secret.encode() in path.read_bytes()]
    assert (
        json.loads((tmp_path / "out" / "models" / "model.json").read_text())["run_id"] == runs["training"].info.run_id
    )
