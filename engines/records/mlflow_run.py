"""MLflow runs: one per training, with a nested run per stage.

MONAI's own handler continues any unfinished run of the experiment; this one is given its run. A failing tracking store
is reported once and never stops a training: the same numbers are in the output folder.
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
from typing import Any, TypeVar

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID
from mlflow.utils.validation import MAX_METRICS_PER_BATCH

from engines.base.command_values import as_given
from engines.base.network_file import NetworkRows
from engines.base.options import switch
from engines.base.signals import hides_interruption
from engines.base.world import is_main
from engines.records.mlflow_store import (
    SHORT_WAIT,
    as_tracking_uri,
    check_server,
    default_tracking_uri,
    make_database,
    metric_name,
    metric_names,
    release_connections,
)
from engines.records.mlflow_tags import context_tags, experiment_id
from engines.records.system_monitor import SystemMonitor
from transforms.errors import UserError

T = TypeVar("T")

logger = logging.getLogger("mammoseg")

EPOCH_METRIC = "learning_rate"
"""Metric logged in every epoch."""

MAX_NAME, MAX_DIGEST = 500, 36
"""Maximum lengths of a data set's name and digest in MLflow."""

DATA_SET = ("dataset_name", "dataset_digest")
"""Fields that link a metric with a data set."""

LOCK_TAG = "mammoseg.lock"
"""Tag of a run: token of the lock that its process held, see `engines.base.lock`."""


class Tracking:
    """The MLflow run of one training, evaluation or other job.

    Args:
        experiment_name: the experiment, created if missing.
        run_name: name of the run.
        tracking_uri: store or server; None means `default_tracking_uri`. A path means an SQLite file.
        params: flat parameters of the run (numbers and short strings).
        enabled: False logs nothing.
        tags: tags of the run and its stages' runs; `mlflow.parentRunId` makes it a part of another run.
        user: owner of the run, see `context_tags`.
        system_metrics: also log the load of processors, memory, disk, network and GPUs.

    Attributes:
        source: what is run, for MLflow's column "Source".
        profile: numbers that describe the data set.
        model_id: logged model that the run's own metrics belong to.

    Raises:
        UserError: psutil is missing for `system_metrics`.
    """

    def __init__(
        self,
        experiment_name: str,
        run_name: str,
        tracking_uri: str | None = None,
        params: Mapping[str, Any] | None = None,
        enabled: bool = True,
        tags: Mapping[str, Any] | None = None,
        user: str | None = None,
        system_metrics: Any = False,
    ) -> None:
        self.experiment_name = as_given(experiment_name)  # a command line reads 2024 as a number
        self.run_name = as_given(run_name)
        self.tracking_uri = as_tracking_uri(str(tracking_uri or default_tracking_uri()))
        self.params = dict(params or {})
        self.enabled = enabled and is_main()
        self.tags = {str(key): as_given(value) for key, value in (tags or {}).items()}
        self.user = None if user is None else str(user)
        self.monitor = SystemMonitor() if switch(system_metrics, "--system_metrics") and self.enabled else None
        self.source = ""
        self.profile: dict[str, Any] = {}
        self.model_id: str | None = None
        self.rows: NetworkRows | None = None
        self.failed = False
        self._started = False
        self.run_id: str | None = None
        self.stage_run_id: str | None = None
        self.stage_runs: dict[str, str] = {}
        self._logged: dict[str, tuple[set[int], dict[str, float]]] = {}
        self._client: MlflowClient | None = None

    def row_tags(self, stage: str) -> dict[str, str]:
        """Return the tags for the table row of a stage's run; none if the bundle has no network.json."""
        return self.rows.tags(stage) if self.rows is not None else {}

    def start(self, run_id: str | None = None, stage_runs: Mapping[str, str] | None = None) -> None:
        """Open a new run, or continue `run_id` and its stages' runs (after an interruption)."""
        self._try(self._start, run_id, dict(stage_runs or {}))

    def store_record(self) -> dict[str, str]:
        """Return store and experiment for `end_left`; the address only as digest, since it may hold a password."""
        return {"store": hashlib.sha256(self.tracking_uri.encode()).hexdigest(), "experiment": self.experiment_name}

    def set_lock(self, token: str) -> None:
        """Mark the runs with the lock of their output folder, by which `end_left` finds them."""
        self.tags[LOCK_TAG] = token

    def end_left(self, record: Mapping[str, Any]) -> None:
        """Mark runs as KILLED that a process left as RUNNING when it was killed while holding a lock.

        Args:
            record: record of the lock; ignored if it names another store.
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
            if token != self.tags.get(LOCK_TAG):
                logger.info("The MLflow run %s, whose process was killed, is now marked as KILLED.", run.info.run_name)

    def _open(self) -> MlflowClient:
        """Open the store; its tables are created if missing."""
        logging.getLogger("mlflow.store").setLevel(logging.WARNING)  # silence the creation of its database tables
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # no traceback of what `_try` reports
        logging.getLogger("alembic").setLevel(logging.WARNING)
        for name, value in SHORT_WAIT.items():
            os.environ.setdefault(name, value)
        check_server(self.tracking_uri)
        make_database(self.tracking_uri)
        self._client = MlflowClient(tracking_uri=self.tracking_uri)
        return self._client

    def _start(self, run_id: str | None, stage_runs: dict[str, str]) -> None:
        self.run_id, self.stage_runs = run_id, stage_runs  # kept for a later resume if the store does not answer now
        client = self._open()
        if run_id is not None and self._exists(run_id):
            self._continue(run_id)
        else:
            self.stage_runs = {}
            tags = {**context_tags(self.source, self.user), **self.tags}
            run = client.create_run(self._experiment(), run_name=self.run_name, tags=tags)
            self.run_id = run.info.run_id
            self.log_params(self.params)
            self._log_data(self.run_id)
        self._started = True
        monitor, run = self.monitor, str(self.run_id)
        if monitor is not None:
            self.optional(lambda _: monitor.start(run, self.tracking_uri), "system metrics")

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
            logger.warning("The interrupted training's MLflow run is not in %s: creating a new run.", self.tracking_uri)
            return False

    def _experiment(self) -> str:
        assert self._client is not None
        return experiment_id(self._client, self.experiment_name, self.tracking_uri)

    def start_stage(self, name: str, params: Mapping[str, Any]) -> None:
        """Open the nested run of a stage, or continue it after an interruption."""
        self._try(self._start_stage, name, params)

    def _start_stage(self, name: str, params: Mapping[str, Any]) -> None:
        assert self._client is not None
        if name in self.stage_runs:
            self.stage_run_id = self.stage_runs[name]
            self._continue(self.stage_run_id)
            return
        tags = {**context_tags(self.source, self.user), **self.tags, **self.row_tags(name)}
        tags |= {MLFLOW_PARENT_RUN_ID: str(self.run_id), "kind": "stage", "stage": name}
        run = self._client.create_run(self._experiment(), run_name=f"{self.run_name} {name}", tags=tags)
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
        if self.monitor is not None:
            self.monitor.finish()
        if status == "KILLED" and self._client is not None:
            release_connections(self._client)
        self._terminate(self.stage_run_id, status)
        self._terminate(self.run_id, status)
        self.stage_run_id = None
        # a run that was being created when the signal came has an unknown id
        if status == "KILLED" and LOCK_TAG in self.tags:
            self._try(self._end_left, self.experiment_name, self.tags[LOCK_TAG], even_after_failure=True)

    def _terminate(self, run_id: str | None, status: str) -> None:
        if run_id is not None and self._started:
            self._try(lambda: self._client and self._client.set_terminated(run_id, status), even_after_failure=True)

    def log_params(self, params: Mapping[str, Any], run_id: str | None = None) -> None:
        """Log parameters, each cut to MLflow's length."""
        batch = [Param(metric_name(k), str(v)[:6000]) for k, v in params.items()]
        self._try(lambda: self._client and self._client.log_batch(run_id or self.run_id, params=batch))

    @property
    def data_set(self) -> tuple[str | None, str | None]:
        """Name and digest of the data set in the parameters, cut to MLflow's lengths."""
        name, digest = self.params.get("dataset"), self.params.get("dataset_digest")
        return (str(name)[:MAX_NAME], str(digest)[:MAX_DIGEST]) if name and digest else (None, None)

    def _log_data(self, run_id: str) -> None:
        """Log the data set in the parameters as the run's input, by name and digest, never by its path."""
        assert self._client is not None
        name, digest = self.data_set
        if not name or not digest:
            return
        source = json.dumps({"name": name, "digest": self.params["dataset_digest"]}, ensure_ascii=False)
        profile = json.dumps(self.profile, ensure_ascii=False) if self.profile else None
        data = Dataset(name, digest, "dataset folder", source, profile=profile)
        context = self.tags.get("section", "training")
        self._client.log_inputs(run_id, [DatasetInput(data, [InputTag(MLFLOW_DATASET_CONTEXT, context)])])

    def log_metrics(self, values: Mapping[str, float], step: int, prefix: str = "", run_id: str | None = None) -> None:
        """Log values that are not NaN in one write, except those that a continued run already has.

        Values of the run itself are also linked with its `model_id` and data set.
        """
        now, run = int(time.time() * 1000), run_id or self.run_id or ""
        epochs, latest = self._logged.get(run, (set(), {}))
        if step in epochs:  # an epoch that was interrupted before it was saved; its repetition is equal
            return
        names = metric_names(prefix + name for name in values)
        pairs = [(k, float(v)) for k, v in zip(names, values.values(), strict=True) if v == v]
        own = run == self.run_id and self.model_id is not None
        linked = {"model_id": self.model_id, **dict(zip(DATA_SET, self.data_set, strict=True))} if own else {}
        if own:
            known, now = self._scores_of_model(now)
            pairs = [(k, v) for k, v in pairs if k not in known]
        else:
            pairs = [(k, v) for k, v in pairs if step > 0 or latest.get(k) != v]
        batch = [Metric(k, v, now, step, **linked) for k, v in pairs]
        for first in range(0, len(batch), MAX_METRICS_PER_BATCH):
            part = batch[first : first + MAX_METRICS_PER_BATCH]
            self._try(lambda part=part: self._client and self._client.log_batch(run, metrics=part))

    def _scores_of_model(self, now: int) -> tuple[set[str], int]:
        """Return the names of scores that the logged model already has of this run, and the time for logging others.

        If the run made the model, it is the model's creation time: a store drops points that a run already has, which a
        killed process may have logged for the run but not yet for the model.
        """
        model = self.optional(lambda client: client.get_logged_model(self.model_id), "logged models")
        if model is None:
            return set(), now
        names = {m.key for m in model.metrics or [] if m.run_id == self.run_id}
        return names, model.creation_timestamp if model.source_run_id == self.run_id else now

    def log_artifacts(self, path: Path, folder: str | None = None, run_id: str | None = None) -> None:
        """Log a file, or every file below a folder."""
        run = run_id or self.run_id
        if path.is_dir():
            self._try(lambda: self._client and self._client.log_artifacts(run, str(path), folder))
        elif path.is_file():
            self._try(lambda: self._client and self._client.log_artifact(run, str(path), folder))

    def optional(self, action: Callable[[MlflowClient], T], what: str) -> T | None:
        """Return the result of an action that an older server may not support, or None after one warning."""
        if not self.enabled or self.failed or self._client is None:
            return None
        try:
            return action(self._client)
        except Exception as error:  # any store, any transport
            if hides_interruption(error):
                raise KeyboardInterrupt from None
            logger.warning("MLflow at %s does not accept %s (%s).", self.tracking_uri, what, _reason(error))
            return None

    def _try(self, action: Callable[..., Any], *args: Any, even_after_failure: bool = False) -> None:
        """Run an action on the store. After a failure only the ends of runs are tried, so that none stays RUNNING.

        Raises:
            KeyboardInterrupt: also if the store's library replaced it by another exception.
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
            logger.warning(
                "MLflow at %s %s: continuing without it; all numbers are also in the output folder.",
                self.tracking_uri,
                error if isinstance(error, UserError) else f"does not answer ({_reason(error)})",
            )


def _reason(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
