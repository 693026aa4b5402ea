"""The store under trainings: several at once, made anew, or not there."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

import engines.records.mlflow_store as tracking_module
from engines.records.mlflow_run import Tracking
from engines.records.mlflow_store import as_tracking_uri, check_server, make_database, sqlite_uri
from engines.runs.train import tracked

TRAINING = """
import sys
from engines.records.mlflow_run import Tracking
t = Tracking("e", sys.argv[1], sys.argv[2], params={"a": 1})
t.start()
t.start_stage("front", {"b": 2})
for step in range(15):
    t.log_metrics({f"m{i}": float(step) for i in range(30)}, step=step, run_id=t.stage_run_id)
t.end_stage({"mean_iou": 0.5})
t.end("FINISHED")
sys.exit(t.failed)
"""


@pytest.mark.slow
def test_processes_that_start_at_once_on_a_new_store_all_finish_and_leave_the_folder_clean(tmp_path: Path) -> None:
    store, elsewhere = tmp_path / "new ä.db", tmp_path / "elsewhere"
    elsewhere.mkdir()
    words = [sys.executable, "-c", TRAINING]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([*words, f"r{n}", str(store)], cwd=elsewhere, env=environment, stderr=subprocess.PIPE)
        for n in range(4)
    ]
    messages = [process.communicate(timeout=200)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, messages
    client = MlflowClient(tracking_module.sqlite_uri(store))
    runs = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    assert sorted((r.info.run_name, r.info.status, len(r.data.metrics)) for r in runs) == sorted(
        entry for n in range(4) for entry in ((f"r{n}", "FINISHED", 0), (f"r{n} front", "FINISHED", 31))
    )
    assert list(elsewhere.iterdir()) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["elsewhere", "new ä.db"]


def test_a_store_that_is_there_is_left_alone(store: Path) -> None:
    before = store.read_bytes()
    make_database(f"sqlite:///{store}")
    make_database("http://127.0.0.1:9")
    assert store.read_bytes() == before


def test_a_server_that_does_not_open_is_given_up_before_mlflow_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    knocked = []

    def silent(address: tuple[str, int], timeout: float) -> None:
        knocked.append((address, timeout))
        raise TimeoutError("timed out")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("MLflow was asked")

    monkeypatch.setattr(tracking_module.socket, "create_connection", silent)
    monkeypatch.setattr(tracking_module, "MlflowClient", never)
    monkeypatch.setattr(tracking_module, "getproxies", dict)
    tracking = Tracking("e", "r", "https://server.example/mlflow")
    with caplog.at_level(logging.WARNING, "mammoseg"), tracked(tracking):
        tracking.start()
        tracking.log_metrics({"mean_iou": 1.0}, step=1)
    assert knocked == [(("server.example", 443), 5.0)]
    assert [r.getMessage() for r in caplog.records if r.name == "mammoseg"] == [
        "MLflow at https://server.example/mlflow does not answer (timed out): going on without it; all numbers are "
        "also in the output folder."
    ]


def test_behind_a_proxy_nobody_knocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking_module, "getproxies", lambda: {"http": "http://proxy.example:3128"})
    check_server("http://server.example:5000")
    check_server("databricks")


def test_tags_are_on_the_run_and_its_stages(store: Path) -> None:
    tracking = Tracking("e", "r", str(store), tags={"site": "a", "fold": 3})
    tracking.start()
    tracking.start_stage("front", {})
    tracking.end("FINISHED")
    client = MlflowClient(f"sqlite:///{store}")
    for run_id in (tracking.run_id, tracking.stage_runs["front"]):
        tags = client.get_run(run_id).data.tags
        assert (tags["site"], tags["fold"]) == ("a", "3")
    assert tags["mlflow.parentRunId"] == tracking.run_id


def test_a_deleted_experiment_is_told_with_the_way_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    uri = sqlite_uri(tmp_path / "a b.db")
    client = MlflowClient(uri)
    experiment = client.create_experiment("e")
    client.delete_experiment(experiment)
    tracking = Tracking("e", "r", uri)
    with caplog.at_level(logging.WARNING, "mammoseg"), tracked(tracking):
        tracking.start()
    assert [r.getMessage() for r in caplog.records if r.name == "mammoseg"] == [
        f"MLflow at {uri} takes no runs: the experiment e was deleted; bring it back with mlflow experiments restore "
        f"--experiment-id {experiment}, or give another --experiment_name: going on without it; all numbers are also "
        "in the output folder."
    ]


def test_a_database_with_options_is_that_database(tmp_path: Path) -> None:
    uri = sqlite_uri(tmp_path / "a.db") + "?timeout=60"
    tracking = Tracking("e", "r", uri)
    tracking.start()
    tracking.end("FINISHED")
    assert not tracking.failed
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["a.db"]
    assert len(MlflowClient(sqlite_uri(tmp_path / "a.db")).search_experiments()) == 2


def test_words_that_mlflow_knows_are_no_files() -> None:
    assert as_tracking_uri("databricks") == "databricks"
    assert as_tracking_uri("bricks").endswith("/bricks")
