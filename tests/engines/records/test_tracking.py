"""One training is one MLflow run in all circumstances."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from engines.records.mlflow_run import Tracking
from engines.records.mlflow_store import as_tracking_uri, environment, metric_name, metric_names, sqlite_path
from engines.runs.owned_run import tracked


def runs(store: Path) -> list:
    client = MlflowClient(as_tracking_uri(str(store)))
    experiment = client.get_experiment_by_name("e")
    return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (KeyboardInterrupt, "KILLED"), (ZeroDivisionError, "FAILED")]
)
def test_status(store: Path, error: type[BaseException] | None, status: str) -> None:
    tracking = Tracking("e", "r", str(store))

    def job() -> None:
        with tracked(tracking):
            tracking.start_stage("front", {"lr": 0.1})
            if error is not None:
                raise error

    if error is None:
        job()
    else:
        with pytest.raises(error):
            job()
    expected = {"r": status, "r front": status}
    assert {r.info.run_name: r.info.status for r in runs(store)} == expected


def test_names_that_a_command_line_reads_as_numbers(store: Path) -> None:
    """`--experiment_name 2024` lost the whole run: MLflow takes texts alone."""
    tracking = Tracking(2024, 7, str(store), user=5)  # type: ignore[arg-type]
    with tracked(tracking):
        tracking.log_metrics({"mean_iou": 0.5}, step=1)
    assert not tracking.failed
    client = MlflowClient(as_tracking_uri(str(store)))
    (run,) = client.search_runs([client.get_experiment_by_name("2024").experiment_id])
    assert (run.info.run_name, run.data.metrics, run.data.tags["mlflow.user"]) == ("7", {"mean_iou": 0.5}, "5")


def test_a_new_training_is_a_new_run_even_beside_a_crashed_one(store: Path) -> None:
    Tracking("e", "r", str(store)).start()  # never ended: killed
    second = Tracking("e", "r", str(store))
    second.start()
    second.log_metrics({"mean_iou": 0.5}, step=1)
    assert sorted(len(r.data.metrics) for r in runs(store)) == [0, 1]


def test_resume_continues_run_and_stage(store: Path) -> None:
    first = Tracking("e", "r", str(store), params={"lr": 0.1})
    first.start()
    first.start_stage("front", {"max_epochs": 2})
    first.log_metrics({"mean_iou": 0.1}, step=1, run_id=first.stage_run_id)
    first.end("KILLED")
    second = Tracking("e", "r", str(store), params={"lr": 0.2})  # a changed parameter must not stop it
    second.start(first.run_id, first.stage_runs)
    second.start_stage("front", {"max_epochs": 4})
    second.log_metrics({"mean_iou": 0.2}, step=2, run_id=second.stage_run_id)
    second.end_stage({"mean_iou": 0.2})
    second.end("FINISHED")
    assert not second.failed
    assert {r.info.run_name: r.info.status for r in runs(store)} == {"r": "FINISHED", "r front": "FINISHED"}
    history = MlflowClient(as_tracking_uri(str(store))).get_metric_history(first.stage_runs["front"], "mean_iou")
    assert [(m.step, m.value) for m in history] == [(1, 0.1), (2, 0.2)]


def test_names_mlflow_would_refuse_and_nan(store: Path) -> None:
    tracking = Tracking("e", "r", str(store))
    tracking.start()
    tracking.log_metrics({"iou/mammary gland (left)": 0.5, "iou/Brüste": 0.25, "dice/x": float("nan")}, step=0)
    tracking.end("FINISHED")
    assert not tracking.failed
    assert runs(store)[0].data.metrics == {"iou/mammary gland _left_": 0.5, "iou/Brüste": 0.25}


def test_names_of_any_script_and_shape_are_kept_apart(store: Path) -> None:
    """No name may break tracking, and no two classes may get the same name."""
    names = ["iou/乳腺", "iou/胸筋", "iou/a?", "iou/a!", "gland/", "a//b", ".", "..", "../x", "/y", "", "z" * 600]
    tracking = Tracking("e", "r", str(store))
    tracking.start()
    tracking.log_metrics({name: float(number) for number, name in enumerate(names)}, step=0)
    more_than_mlflow_takes_at_once = {f"iou/class {number}": 0.0 for number in range(1200)}
    tracking.log_metrics(more_than_mlflow_takes_at_once, step=1)
    tracking.end("FINISHED")
    assert not tracking.failed
    logged = runs(store)[0].data.metrics
    assert {"iou/乳腺", "iou/胸筋", "iou/a_", "iou/a__2"} <= set(logged)
    assert sorted(v for k, v in logged.items() if not k.startswith("iou/class")) == [
        float(n) for n in range(len(names))
    ]
    assert len(logged) == len(names) + 1200


def test_an_unreachable_store_is_told_in_one_line_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    tracking = Tracking("e", "r", "http://127.0.0.1:9", params={"a": 1})
    with caplog.at_level(logging.WARNING, "mammoseg"), tracked(tracking):
        tracking.start_stage("front", {})
        tracking.log_metrics({"mean_iou": 1.0}, step=1)
    lines = [r.getMessage() for r in caplog.records if r.name == "mammoseg"]
    assert len(lines) == 1
    assert "http://127.0.0.1:9 does not answer" in lines[0]
    assert "\n" not in lines[0]


def test_an_interruption_in_the_middle_of_a_write_is_none_of_the_store(store: Path) -> None:
    """SQLAlchemy replaces a Ctrl-C by its own error, which is not a failure of the store."""
    tracking, inserts = Tracking("e", "r", str(store)), []

    def interrupt(_c: Any, _k: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO metrics"):
            inserts.append(statement)
            if len(inserts) == 1:
                raise KeyboardInterrupt

    def job() -> None:
        with tracked(tracking):
            tracking.log_metrics({"a": 1.0}, step=1)

    event.listen(Engine, "before_cursor_execute", interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            job()
    finally:
        event.remove(Engine, "before_cursor_execute", interrupt)
    assert not tracking.failed
    assert [run.info.status for run in runs(store)] == ["KILLED"]


def test_an_error_while_an_interruption_is_handled_is_the_store(tmp_path: Path) -> None:
    tracking = Tracking("e", "r", str(tmp_path / "m.db"))
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        tracking._try(lambda: {}["x"])
    assert tracking.failed


def test_by_default_a_bare_mlflow_at_the_root_finds_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow looks for mlflow.db where it is started, which is what README says to do."""
    monkeypatch.setattr("engines.records.mlflow_store.project_root", lambda: tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracking = Tracking("mammoseg", "found again")
    tracking.start()
    tracking.end("FINISHED")
    code = (
        "from mlflow.tracking import MlflowClient as C; c = C(); "
        "print([r.info.run_name for r in c.search_runs([c.get_experiment_by_name('mammoseg').experiment_id])])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.strip().endswith("['found again']")


def test_uris() -> None:
    assert as_tracking_uri("http://server:5000") == "http://server:5000"
    assert as_tracking_uri("file:./mlruns") == "file:./mlruns"  # a store of folders, not a database of that name
    assert as_tracking_uri("/x y/m.db") == "sqlite:////x y/m.db"
    assert sqlite_path(as_tracking_uri("/x ä#%20?/m.db")) == Path("/x ä#%20?/m.db")
    assert sqlite_path("http://server:5000") is None
    assert metric_name("iou/a-b_c.d") == "iou/a-b_c.d"


def test_charts_of_dice_come_before_those_of_boundaries() -> None:
    names = metric_names(
        ["boundary_iou/tumor", "dice/tumor", "best/boundary_iou/a/b", "mean_boundary_iou", "hd95_mm/a"]
    )
    charts = ["surface/boundary_iou/tumor", "dice/tumor", "best/surface/boundary_iou/a/b", "mean_boundary_iou"]
    assert names == [*charts, "surface/hd95_mm/a"]
    assert min(name.rpartition("/")[0] for name in names if name.count("/") == 1) == "dice"


@pytest.mark.parametrize(("tags", "context"), [({}, "training"), ({"section": "test"}, "test")])
def test_the_data_set_is_an_input_by_name_and_digest(store: Path, tags: dict[str, str], context: str) -> None:
    params = {"dataset": "mine", "dataset_digest": "ab12" * 16, "dataset_dir": "/home/jane/mine"}
    tracking = Tracking("e", "r", str(store), params, tags=tags)
    tracking.start()
    tracking.start_stage("front", {})
    tracking.end("FINISHED")
    assert not tracking.failed
    for run in runs(store):
        (data,) = run.inputs.dataset_inputs
        assert (data.dataset.name, data.dataset.digest) == ("mine", "ab12" * 9)
        assert json.loads(data.dataset.source) == {"name": "mine", "digest": "ab12" * 16}
        assert {tag.key: tag.value for tag in data.tags} == {"mlflow.data.context": context}


def test_a_run_without_data_has_no_input(store: Path) -> None:
    tracking = Tracking("e", "r", str(store))
    tracking.start()
    assert not tracking.failed
    assert [run.inputs.dataset_inputs for run in runs(store)] == [[]]


def test_names_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    assert environment("MLFLOW_EXPERIMENT_NAME", "mammoseg") == "theirs"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "")
    assert environment("MLFLOW_EXPERIMENT_NAME", "mammoseg") == "mammoseg"
