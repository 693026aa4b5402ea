"""MLflow runs: one per training, with a nested run per stage.

MONAI's own handler continues whatever run of the experiment is not finished; this one is told its run. A tracking
store that fails is reported once and never stops a training: the same numbers are in the output folder.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlflow
from ignite.engine import Engine, Events
from mlflow.entities import Dataset, DatasetInput, InputTag, LifecycleStage, Metric, Param
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID
from mlflow.utils.validation import MAX_METRICS_PER_BATCH
from monai.utils import path_to_uri

from engines.base.distributed import is_main
from engines.base.network_file import NetworkRows
from engines.base.signals import hides_interruption
from engines.records.mlflow_store import (
    SHORT_WAIT,
    as_tracking_uri,
    check_server,
    default_tracking_uri,
    make_database,
    metric_name,
    metric_names,
    sqlite_path,
)
from transforms.errors import UserError

logger = logging.getLogger("mammoseg")

EPOCH_METRIC = "learning_rate"
"""Logged in every epoch."""

MAX_NAME, MAX_DIGEST = 500, 36
"""Characters of a data set's name and digest that MLflow takes."""

LOCK_TAG = "mammoseg.lock"
"""Tag of a run: the lock that its process held, see `engines.base.lock`."""


class Tracking:
    """The MLflow run of one training, evaluation or other job.

    Args:
        experiment_name: the experiment, made if missing.
        run_name: name of the run.
        tracking_uri: store or server; None takes `default_tracking_uri`. A path is taken as an SQLite file.
        params: flat parameters of the run (numbers and short strings).
        enabled: False logs nothing.
        tags: of the run and of its stages' runs; `mlflow.parentRunId` makes it a part of another run.
    """

    def __init__(
        self,
        experiment_name: str,
        run_name: str,
        tracking_uri: str | None = None,
        params: Mapping[str, Any] | None = None,
        enabled: bool = True,
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        self.experiment_name = experiment_name
        self.run_name = run_name
        self.tracking_uri = as_tracking_uri(tracking_uri or default_tracking_uri())
        self.params = dict(params or {})
        self.enabled = enabled and is_main()
        self.tags = {str(key): str(value) for key, value in (tags or {}).items()}
        self.rows: NetworkRows | None = None
        self.failed = False
        self._started = False
        self.run_id: str | None = None
        self.stage_run_id: str | None = None
        self.stage_runs: dict[str, str] = {}
        self._logged: dict[str, tuple[set[int], dict[str, float]]] = {}
        self._client: MlflowClient | None = None

    def row_tags(self, stage: str) -> dict[str, str]:
        """Tags that say which row of a table a stage's run is; none where the bundle has no network.json."""
        return self.rows.tags(stage) if self.rows is not None else {}

    def start(self, run_id: str | None = None, stage_runs: Mapping[str, str] | None = None) -> None:
        """Open a new run, or continue `run_id` and its stages' runs (after an interruption)."""
        self._try(self._start, run_id, dict(stage_runs or {}))

    def store_record(self) -> dict[str, str]:
        """Which store and experiment, for `end_left`; of the address only a digest, since it may hold a password."""
        return {"store": hashlib.sha256(self.tracking_uri.encode()).hexdigest(), "experiment": self.experiment_name}

    def set_lock(self, token: str) -> None:
        """Mark the runs with the lock of their output folder, by which `end_left` finds them."""
        self.tags[LOCK_TAG] = token

    def end_left(self, record: Mapping[str, Any]) -> None:
        """Mark as KILLED what a process left as RUNNING that was killed while it held a lock.

        Args:
            record: of the lock; nothing is done if it names another store.
        """
        token = str(record.get("token"))
        if record.get("store") == self.store_record()["store"] and re.fullmatch("[0-9a-f]+", token):
            self._try(self._end_left, str(record.get("experiment")), token)

    def _end_left(self, experiment_name: str, token: str) -> None:
        client = self._open()
        experiment = client.get_experiment_by_name(experiment_name)
        if experiment is None:
            return
        wanted = f"tags.`{LOCK_TAG}` = '{token}' and attributes.status = 'RUNNING'"
        for run in client.search_runs([experiment.experiment_id], filter_string=wanted):
            client.set_terminated(run.info.run_id, "KILLED")
            logger.info("The MLflow run %s, whose process was killed, is now marked so.", run.info.run_name)

    def _open(self) -> MlflowClient:
        """The store, whose tables are made if need be."""
        logging.getLogger("mlflow.store").setLevel(logging.WARNING)  # how its database tables are made
        logging.getLogger("alembic").setLevel(logging.WARNING)
        for name, value in SHORT_WAIT.items():
            os.environ.setdefault(name, value)
        check_server(self.tracking_uri)
        make_database(self.tracking_uri)
        self._client = MlflowClient(tracking_uri=self.tracking_uri)
        return self._client

    def _start(self, run_id: str | None, stage_runs: dict[str, str]) -> None:
        self.run_id, self.stage_runs = run_id, stage_runs  # kept for a later resume, should the store not answer now
        client = self._open()
        if run_id is not None and self._exists(run_id):
            self._continue(run_id)
            self._started = True
            return
        self.stage_runs = {}
        run = client.create_run(self._experiment_id(), run_name=self.run_name, tags=self.tags)
        self.run_id = run.info.run_id
        self._started = True
        self.log_params(self.params)
        self._log_data(self.run_id)

    def _continue(self, run_id: str) -> None:
        assert self._client is not None
        self._client.update_run(run_id, status="RUNNING")
        if LOCK_TAG in self.tags:
            self._client.set_tag(run_id, LOCK_TAG, self.tags[LOCK_TAG])
        epochs = {metric.step for metric in self._client.get_metric_history(run_id, EPOCH_METRIC)}
        self._logged[run_id] = (epochs, dict(self._client.get_run(run_id).data.metrics))

    def _exists(self, run_id: str) -> bool:
        assert self._client is not None
        try:
            return bool(self._client.get_run(run_id).info.lifecycle_stage == "active")
        except mlflow.exceptions.MlflowException as error:
            if hides_interruption(error):
                raise
            logger.warning("The interrupted training's MLflow run is not in %s: a new run is made.", self.tracking_uri)
            return False

    def _experiment_id(self) -> str:
        assert self._client is not None
        experiment = self._client.get_experiment_by_name(self.experiment_name)
        if experiment is not None:
            if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
                raise UserError(
                    f"cannot log: experiment {self.experiment_name} is deleted; restore it with mlflow "
                    f"experiments restore --experiment-id {experiment.experiment_id}, or give another --experiment_name"
                )
            return str(experiment.experiment_id)
        database = sqlite_path(self.tracking_uri)
        location = path_to_uri(database.parent / "mlruns") if database is not None else None
        try:
            return str(self._client.create_experiment(self.experiment_name, artifact_location=location))
        except mlflow.exceptions.MlflowException as error:  # another process was faster
            experiment = self._client.get_experiment_by_name(self.experiment_name)
            if experiment is None or hides_interruption(error):
                raise
            return str(experiment.experiment_id)

    def start_stage(self, name: str, params: Mapping[str, Any]) -> None:
        """Open the nested run of a stage, or continue it after an interruption."""
        self._try(self._start_stage, name, params)

    def _start_stage(self, name: str, params: Mapping[str, Any]) -> None:
        assert self._client is not None
        if name in self.stage_runs:
            self.stage_run_id = self.stage_runs[name]
            self._continue(self.stage_run_id)
            return
        tags = {**self.tags, **self.row_tags(name), MLFLOW_PARENT_RUN_ID: self.run_id, "kind": "stage", "stage": name}
        run = self._client.create_run(self._experiment_id(), run_name=f"{self.run_name} {name}", tags=tags)
        self.stage_run_id = self.stage_runs[name] = run.info.run_id
        self.log_params({"stage": name, **params}, run_id=self.stage_run_id)
        self._log_data(self.stage_run_id)

    def end_stage(self, scores: Mapping[str, float]) -> None:
        """Log the scores of the stage's best epoch as best/<name> and finish its run."""
        self.log_metrics(scores, step=0, prefix="best/", run_id=self.stage_run_id)
        self._terminate(self.stage_run_id, "FINISHED")
        self.stage_run_id = None

    def end(self, status: str) -> None:
        """Finish the run and an open stage: FINISHED, FAILED (exception) or KILLED (Ctrl-C, SIGTERM)."""
        self._terminate(self.stage_run_id, status)
        self._terminate(self.run_id, status)
        self.stage_run_id = None

    def _terminate(self, run_id: str | None, status: str) -> None:
        if run_id is not None and self._started:
            self._try(lambda: self._client and self._client.set_terminated(run_id, status), even_after_failure=True)

    def log_params(self, params: Mapping[str, Any], run_id: str | None = None) -> None:
        """Log parameters, each cut to MLflow's length."""
        batch = [Param(metric_name(k), str(v)[:6000]) for k, v in params.items()]
        self._try(lambda: self._client and self._client.log_batch(run_id or self.run_id, params=batch))

    def _log_data(self, run_id: str) -> None:
        """Name the data set of the parameters as the run's input: by name and digest, never by its path."""
        assert self._client is not None
        name, digest = self.params.get("dataset"), self.params.get("dataset_digest")
        if not name or not digest:
            return
        source = json.dumps({"name": name, "digest": digest}, ensure_ascii=False)
        data = Dataset(str(name)[:MAX_NAME], str(digest)[:MAX_DIGEST], "dataset folder", source)
        context = self.tags.get("section", "training")
        self._client.log_inputs(run_id, [DatasetInput(data, [InputTag(MLFLOW_DATASET_CONTEXT, context)])])

    def log_metrics(self, values: Mapping[str, float], step: int, prefix: str = "", run_id: str | None = None) -> None:
        """Log the values that are numbers (not NaN) in one write, without those that a continued run has already."""
        now, run = int(time.time() * 1000), run_id or self.run_id or ""
        epochs, latest = self._logged.get(run, (set(), {}))
        if step in epochs:  # an epoch that was interrupted before it was saved, and came out the same
            return
        names = metric_names(prefix + name for name in values)
        pairs = [(k, float(v)) for k, v in zip(names, values.values(), strict=True) if v == v]
        batch = [Metric(k, v, now, step) for k, v in pairs if step > 0 or latest.get(k) != v]
        for first in range(0, len(batch), MAX_METRICS_PER_BATCH):
            part = batch[first : first + MAX_METRICS_PER_BATCH]
            self._try(lambda part=part: self._client and self._client.log_batch(run, metrics=part))

    def log_artifacts(self, path: Path, folder: str | None = None, run_id: str | None = None) -> None:
        """Log a file, or every file below a folder."""
        run = run_id or self.run_id
        if path.is_dir():
            self._try(lambda: self._client and self._client.log_artifacts(run, str(path), folder))
        elif path.is_file():
            self._try(lambda: self._client and self._client.log_artifact(run, str(path), folder))

    def _try(self, action: Callable[..., Any], *args: Any, even_after_failure: bool = False) -> None:
        """Do something with the store. After a failure only the ends of runs are tried, so that none stays RUNNING.

        Raises:
            KeyboardInterrupt: also where the store's library put another exception in its place.
        """
        if not self.enabled or (self.failed and not even_after_failure):
            return
        handled = sys.exc_info()[1]
        try:
            action(*args)
        except Exception as error:  # any store, any transport
            if hides_interruption(error, handled):
                raise KeyboardInterrupt from None
            if self.failed:
                return
            self.failed = True
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            logger.warning(
                "MLflow at %s %s: going on without it; all numbers are also in the output folder.",
                self.tracking_uri,
                reason if isinstance(error, UserError) else f"does not answer ({reason[:200]})",
            )


class StageTrackingHandler:
    """Logs each epoch of the trainer (loss, learning rate, validation scores) to the stage's nested run.

    Attach to a trainer whose `state.metrics` holds the epoch's numbers when EPOCH_COMPLETED handlers run, so after
    the validation handler.
    """

    def __init__(self, tracking: Tracking) -> None:
        self.tracking = tracking

    def attach(self, engine: Engine) -> None:
        """Register on the trainer."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write one row."""
        self.tracking.log_metrics(engine.state.metrics, step=engine.state.epoch, run_id=self.tracking.stage_run_id)
