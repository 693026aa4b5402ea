"""MLflow: one training is one run of its own, with a nested run per stage.

MONAI's own handler continues whatever run of the experiment is not finished; this one is told its run. A tracking
store that fails is reported once and never stops a training: the same numbers are in the output folder.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies

import mlflow
from ignite.engine import Engine, Events
from mlflow.entities import LifecycleStage, Metric, Param
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from mlflow.utils.validation import MAX_ENTITY_KEY_LENGTH, MAX_METRICS_PER_BATCH
from monai.utils import path_to_uri

from engines.base.distributed import is_main
from engines.base.network_file import NetworkRows
from engines.base.paths import as_path, project_root
from transforms.errors import UserError

logger = logging.getLogger("mammoseg")

SHORT_WAIT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""MLflow would wait minutes for a server that is not there; the environment overrides these."""


WORDS = ("databricks", "databricks-uc")
"""Stores that MLflow knows by a word alone."""


def disable_telemetry() -> None:
    """Keep MLflow from reporting usage over the network, unless the user's environment says otherwise."""
    if "MLFLOW_DISABLE_TELEMETRY" not in os.environ and "DO_NOT_TRACK" not in os.environ:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        mlflow.telemetry.set_telemetry_client()


def default_tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI` if set, else mlflow.db at the project's root, where a bare `mlflow ui` looks."""
    return os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(project_root() / "mlflow.db")


def as_tracking_uri(uri: str) -> str:
    """Accept a plain path of a database file (also `C:\\runs\\x.db`) where MLflow wants a URI."""
    return uri if "://" in uri or uri in WORDS else sqlite_uri(as_path(uri))


def sqlite_uri(path: Path) -> str:
    """URI of a database file. Only what would end the path is encoded: MLflow also reads it as it stands."""
    return "sqlite:///" + path.absolute().as_posix().translate({ord(c): quote(c) for c in "%?#"})


def sqlite_path(uri: str) -> Path | None:
    """File of an SQLite URI, which may end with options (`?timeout=60`); None for any other store."""
    return Path(unquote(uri[len("sqlite:///") :].split("?")[0])) if uri.startswith("sqlite:///") else None


def check_server(uri: str, seconds: float = 5.0) -> None:
    """Knock at a server's door: MLflow itself would wait much longer for one that does not open.

    Raises:
        OSError: nobody answers.
    """
    address = urlsplit(uri)
    if address.scheme not in ("http", "https") or not address.hostname or address.scheme in getproxies():
        return
    port = address.port or (443 if address.scheme == "https" else 80)
    with socket.create_connection((address.hostname, port), timeout=seconds):
        pass


def make_database(uri: str) -> None:
    """Make the tables of an SQLite store that is not there yet, whole or not at all.

    Left to MLflow, two trainings that start at once on a new file both make its tables, and leave a file that can
    never be opened again.
    """
    path = sqlite_path(uri)
    if path is None or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".mlflow-", ignore_cleanup_errors=True) as folder:
        made, copy = Path(folder) / "made.db", Path(folder) / "copy.db"
        MlflowClient(tracking_uri=sqlite_uri(made)).search_experiments(max_results=1)
        shutil.copyfile(made, copy)  # MLflow keeps the first open, and Windows does not move an open file
        try:
            os.link(copy, path)
        except FileExistsError:  # another process was faster
            return
        except OSError:  # a file system without links
            copy.replace(path)


def metric_name(name: str) -> str:
    """A name MLflow accepts: anything but letters (of any script), digits and `_ - . : / space` becomes `_`.

    So does a part between slashes that is empty or dots alone, and what exceeds MLflow's length is cut off.
    """
    parts = re.sub(r"[^\w\-. :/]", "_", name).split("/")
    parts = [part if part.strip(".") else "_" * max(1, len(part)) for part in parts]
    return re.sub(r"^\.\.", "__", "/".join(parts))[:MAX_ENTITY_KEY_LENGTH]


def metric_names(names: Iterable[str]) -> list[str]:
    """`metric_name` of each, with a number behind it where two would be the same."""
    taken: list[str] = []
    for name in map(metric_name, names):
        unique, number = name, 2
        while unique in taken:
            unique, number = f"{name[: MAX_ENTITY_KEY_LENGTH - 4]}_{number}", number + 1
        taken.append(unique)
    return taken


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
        self._client: MlflowClient | None = None

    def row_tags(self, stage: str) -> dict[str, str]:
        """Tags that say which row of a table a stage's run is; none where the bundle has no network.json."""
        return self.rows.tags(stage) if self.rows is not None else {}

    def start(self, run_id: str | None = None, stage_runs: Mapping[str, str] | None = None) -> None:
        """Open a new run, or continue `run_id` and its stages' runs (after an interruption)."""
        self._try(self._start, run_id, dict(stage_runs or {}))

    def _start(self, run_id: str | None, stage_runs: dict[str, str]) -> None:
        logging.getLogger("mlflow.store").setLevel(logging.WARNING)  # how its database tables are made
        logging.getLogger("alembic").setLevel(logging.WARNING)
        for name, value in SHORT_WAIT.items():
            os.environ.setdefault(name, value)
        self.run_id, self.stage_runs = run_id, stage_runs  # kept for a later resume, should the store not answer now
        check_server(self.tracking_uri)
        make_database(self.tracking_uri)
        self._client = MlflowClient(tracking_uri=self.tracking_uri)
        if run_id is not None and self._exists(run_id):
            self._client.update_run(run_id, status="RUNNING")
            self._started = True
            return
        self.stage_runs = {}
        run = self._client.create_run(self._experiment_id(), run_name=self.run_name, tags=self.tags)
        self.run_id = run.info.run_id
        self._started = True
        self.log_params(self.params)

    def _exists(self, run_id: str) -> bool:
        assert self._client is not None
        try:
            return bool(self._client.get_run(run_id).info.lifecycle_stage == "active")
        except mlflow.exceptions.MlflowException:
            logger.warning("The interrupted training's MLflow run is not in %s: a new run is made.", self.tracking_uri)
            return False

    def _experiment_id(self) -> str:
        assert self._client is not None
        experiment = self._client.get_experiment_by_name(self.experiment_name)
        if experiment is not None:
            if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
                raise UserError(
                    f"takes no runs: the experiment {self.experiment_name} was deleted; bring it back with mlflow "
                    f"experiments restore --experiment-id {experiment.experiment_id}, or give another --experiment_name"
                )
            return str(experiment.experiment_id)
        database = sqlite_path(self.tracking_uri)
        location = path_to_uri(database.parent / "mlruns") if database is not None else None
        try:
            return str(self._client.create_experiment(self.experiment_name, artifact_location=location))
        except mlflow.exceptions.MlflowException:  # another process was faster
            experiment = self._client.get_experiment_by_name(self.experiment_name)
            if experiment is None:
                raise
            return str(experiment.experiment_id)

    def start_stage(self, name: str, params: Mapping[str, Any]) -> None:
        """Open the nested run of a stage, or continue it after an interruption."""
        self._try(self._start_stage, name, params)

    def _start_stage(self, name: str, params: Mapping[str, Any]) -> None:
        assert self._client is not None
        if name in self.stage_runs:
            self.stage_run_id = self.stage_runs[name]
            self._client.update_run(self.stage_run_id, status="RUNNING")
            return
        tags = {**self.tags, **self.row_tags(name), MLFLOW_PARENT_RUN_ID: self.run_id, "kind": "stage", "stage": name}
        run = self._client.create_run(self._experiment_id(), run_name=f"{self.run_name} {name}", tags=tags)
        self.stage_run_id = self.stage_runs[name] = run.info.run_id
        self.log_params({"stage": name, **params}, run_id=self.stage_run_id)

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

    def log_metrics(self, values: Mapping[str, float], step: int, prefix: str = "", run_id: str | None = None) -> None:
        """Log the values that are numbers (not NaN) in one write."""
        now = int(time.time() * 1000)
        names = metric_names(prefix + name for name in values)
        batch = [Metric(k, float(v), now, step) for k, v in zip(names, values.values(), strict=True) if v == v]
        for first in range(0, len(batch), MAX_METRICS_PER_BATCH):
            part = batch[first : first + MAX_METRICS_PER_BATCH]
            self._try(lambda part=part: self._client and self._client.log_batch(run_id or self.run_id, metrics=part))

    def log_artifacts(self, path: Path, folder: str | None = None, run_id: str | None = None) -> None:
        """Log a file, or every file below a folder."""
        run = run_id or self.run_id
        if path.is_dir():
            self._try(lambda: self._client and self._client.log_artifacts(run, str(path), folder))
        elif path.is_file():
            self._try(lambda: self._client and self._client.log_artifact(run, str(path), folder))

    def _try(self, action: Callable[..., Any], *args: Any, even_after_failure: bool = False) -> None:
        """Do something with the store. After a failure only the ends of runs are tried, so that none stays RUNNING."""
        if not self.enabled or (self.failed and not even_after_failure):
            return
        try:
            action(*args)
        except Exception as error:  # any store, any transport
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
