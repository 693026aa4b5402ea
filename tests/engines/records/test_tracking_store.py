"""Tracking store used by several trainings at once, newly created, or missing."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

import engines.records.mlflow_store as tracking_module
from engines.base.lock import NAME, claim
from engines.records.mlflow_run import Tracking
from engines.records.mlflow_store import as_tracking_uri, check_server, make_database, sqlite_uri
from engines.runs.owned_run import tracked

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
        tracking.log_metrics({"mean_iou": 1.0}, step=1)
    assert knocked == [(("server.example", 443), 5.0)]
    assert [r.getMessage() for r in caplog.records if r.name == "mammoseg"] == [
        "MLflow at https://server.example/mlflow does not answer (timed out): continuing without it; all numbers are "
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
        pass
    assert [r.getMessage() for r in caplog.records if r.name == "mammoseg"] == [
        f"MLflow at {uri} cannot log: experiment e is deleted; restore it with mlflow experiments restore "
        f"--experiment-id {experiment}, or give another --experiment_name: continuing without it; all numbers are also "
        "in the output folder."
    ]


def test_a_number_sign_in_a_uri_stays_one_through_monai(tmp_path: Path) -> None:
    """MONAI turns `#` in options into `::`."""
    assert as_tracking_uri("sqlite:////data/run::1/a.db") == "sqlite:////data/run#1/a.db"
    assert as_tracking_uri("http://[::1]:5000") == "http://[::1]:5000"
    (tmp_path / "a::b.db").touch()
    assert as_tracking_uri(f"sqlite:///{tmp_path}/a::b.db") == f"sqlite:///{tmp_path}/a::b.db"


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


@pytest.mark.parametrize("kind", ["folder", "no database", "damaged"])
def test_a_file_that_is_no_store_is_given_up_at_once(
    tmp_path: Path, store: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """MLflow itself tries ten times, for 104 seconds."""
    path = tmp_path / "broken.db"
    if kind == "folder":
        path.mkdir()
    elif kind == "no database":
        path.write_text("no database " * 1000)
    else:
        path.write_bytes(b"SQLite format 3\0" + b"\xff" * 8000)
    tracking = Tracking("e", "r", str(path))
    start = time.monotonic()
    with caplog.at_level(logging.WARNING, "mammoseg"), tracked(tracking):
        tracking.log_metrics({"mean_iou": 1.0}, step=1)
    assert time.monotonic() - start < 10
    (line,) = [record.getMessage() for record in caplog.records if record.name == "mammoseg"]
    assert "broken.db does not answer" in line


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg2", "mysql+pymysql"])
def test_a_database_server_that_is_not_there(scheme: str) -> None:
    with pytest.raises(OSError, match="refused"):
        check_server(f"{scheme}://user:secret@127.0.0.1:9/mlflow")


def test_folders_of_dead_processes_beside_a_store_go(tmp_path: Path, store: Path) -> None:
    dead, alive, unknown = (tmp_path / f".mlflow-{name}" for name in ("dead", "alive", "unknown"))
    for folder in (dead, alive, unknown):
        folder.mkdir()
        (folder / "made.db").touch()
    (dead / NAME).touch()
    lock = claim(alive / NAME)
    assert lock is not None
    make_database(sqlite_uri(store))
    lock.close()
    assert not dead.exists()
    assert (alive / "made.db").exists()
    assert (unknown / "made.db").exists()


def test_runs_of_a_dead_process_are_ended_and_no_others(store: Path) -> None:
    def open_run(token: str) -> Tracking:
        tracking = Tracking("e", token, str(store))
        tracking.set_lock(token)
        tracking.start()
        return tracking

    dead, other = open_run("aa11"), open_run("bb22")
    dead.start_stage("front", {})
    record = {**dead.store_record(), "token": "aa11"}
    for wrong in ({**record, "store": "0" * 64}, {**record, "token": "aa11' or '1'='1"}, {}):
        Tracking("e", "next", str(store)).end_left(wrong)
    client = MlflowClient(sqlite_uri(store))

    def status(run_id: str | None) -> str:
        return str(client.get_run(run_id).info.status)

    assert status(dead.run_id) == "RUNNING"
    Tracking("another experiment", "next", str(store)).end_left(record)
    assert [status(run) for run in (dead.run_id, dead.stage_run_id, other.run_id)] == ["KILLED", "KILLED", "RUNNING"]


def test_a_resumed_run_gets_no_point_twice(store: Path) -> None:
    first = Tracking("e", "r", str(store))
    first.start()
    for epoch in (1, 2):
        first.log_metrics({"learning_rate": 0.1, "loss": 1 / epoch}, step=epoch)
    first.log_metrics({"mean_iou": 0.5}, step=0)
    second = Tracking("e", "r", str(store))
    second.start(first.run_id)
    for epoch in (2, 3):
        second.log_metrics({"learning_rate": 0.1, "loss": 1 / epoch}, step=epoch)
    second.log_metrics({"mean_iou": 0.5, "mean_dice": 0.25}, step=0)
    second.log_metrics({"mean_iou": 0.75}, step=0)
    client = MlflowClient(sqlite_uri(store))
    history = {name: client.get_metric_history(first.run_id, name) for name in ("loss", "mean_iou", "mean_dice")}
    assert [m.step for m in history["loss"]] == [1, 2, 3]
    assert [m.value for m in history["mean_iou"]] == [0.5, 0.75]
    assert [m.value for m in history["mean_dice"]] == [0.25]


def test_a_resumed_run_gets_no_score_of_its_model_twice_and_another_run_of_the_model_gets_its_own(store: Path) -> None:
    client = MlflowClient(sqlite_uri(store))
    params = {"dataset": "d", "dataset_digest": "0" * 8}
    run = Tracking("e", "r", str(store), params)
    run.start()
    model = client.create_logged_model(client.get_experiment_by_name("e").experiment_id, "m", source_run_id=run.run_id)
    for _ in range(2):
        again = Tracking("e", "r", str(store), params)
        again.start(run.run_id)
        again.model_id = model.model_id
        again.log_metrics({"mean_iou": 0.5}, step=0)
    other = Tracking("e", "evaluation", str(store), params)
    other.start()
    other.model_id = model.model_id
    other.log_metrics({"mean_iou": 0.5}, step=0)
    points = [len(client.get_metric_history(each.run_id, "mean_iou")) for each in (run, other)]
    assert points == [1, 1]
    assert len(client.get_logged_model(model.model_id).metrics) == 2


def test_a_score_that_a_killed_process_logged_for_the_run_alone_is_not_logged_twice(
    store: Path,
) -> None:
    client = MlflowClient(sqlite_uri(store))
    params = {"dataset": "d", "dataset_digest": "0" * 8}
    run = Tracking("e", "r", str(store), params)
    run.start()
    model = client.create_logged_model(client.get_experiment_by_name("e").experiment_id, "m", source_run_id=run.run_id)
    run.model_id = model.model_id
    with (
        patch.object(SqlAlchemyStore, "_log_model_metrics", side_effect=KeyboardInterrupt),
        suppress(KeyboardInterrupt),
    ):
        run.log_metrics({"mean_iou": 0.5}, step=0)
    again = Tracking("e", "r", str(store), params)
    again.start(run.run_id)
    again.model_id = model.model_id
    assert client.get_logged_model(model.model_id).metrics is None
    again.log_metrics({"mean_iou": 0.5, "mean_dice": 0.25}, step=0)
    points = [len(client.get_metric_history(run.run_id, name)) for name in ("mean_iou", "mean_dice")]
    assert points == [1, 1]
    assert {(m.key, m.value) for m in client.get_logged_model(model.model_id).metrics} == {
        ("mean_iou", 0.5), ("mean_dice", 0.25),
    }  # fmt: skip


def test_a_run_whose_making_is_interrupted_is_ended_though_its_id_is_not_known(store: Path) -> None:
    tracking = Tracking("e", "r", str(store))
    tracking.set_lock("abc")
    make = MlflowClient.create_run

    def interrupted(*args: Any, **kwargs: Any) -> None:
        make(*args, **kwargs)
        raise KeyboardInterrupt

    with patch.object(MlflowClient, "create_run", interrupted), pytest.raises(KeyboardInterrupt), tracked(tracking):
        pass
    client = MlflowClient(sqlite_uri(store))
    found = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    assert [run.info.status for run in found] == ["KILLED"]


@pytest.mark.parametrize("name", ["commit", "after_cursor_execute"])
def test_a_run_that_is_interrupted_within_a_write_is_ended_all_the_same(store: Path, name: str) -> None:
    """An interrupted write or unfinished cursor holds the database's lock, for which others wait in vain."""
    tracking, armed = Tracking("e", "r", str(store)), [True]

    def interrupt(*about: Any) -> None:
        if armed and (name == "commit" or "FROM runs" in about[2]):
            armed.clear()
            raise KeyboardInterrupt

    def run() -> None:
        with tracked(tracking):
            event.listen(Engine, name, interrupt)
            try:
                tracking.log_params({"a": 1})
            finally:
                event.remove(Engine, name, interrupt)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert not armed
    assert MlflowClient(sqlite_uri(store)).get_run(tracking.run_id).info.status == "KILLED"


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
def test_a_store_that_is_removed_during_a_training_is_reported_without_a_traceback(tmp_path: Path) -> None:
    program = TRAINING.replace('t.start_stage("front", {"b": 2})', "import os; os.unlink(sys.argv[2])")
    program = program.replace("t.stage_run_id", "t.run_id").replace('t.end_stage({"mean_iou": 0.5})\n', "")
    words = [sys.executable, "-c", program, "r", str(tmp_path / "m.db")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1  # failed
    assert "Traceback" not in done.stderr
    assert done.stderr.count("continuing without it") == 1
