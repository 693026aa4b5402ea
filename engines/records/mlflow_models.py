"""Trained weights as MLflow's logged models: named, with their scores and data set.

The Models page lists them and `mlflow.search_logged_models` finds them. A server without them costs one log line.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow.entities import LoggedModel, LoggedModelInput, LoggedModelOutput, LoggedModelStatus, Metric, Run
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_IS_EXTERNAL, MLFLOW_PARENT_RUN_ID

from engines.records.mlflow_run import LOCK_TAG, Tracking
from engines.records.mlflow_store import metric_names

KIND = "segmentation"
DIGEST_TAG = "weights_sha256"
"""Tag of a logged model: SHA-256 of the file of its weights, by which evaluations find it."""

PARAMETERS = (
    "network", "parameters", "recipe", "seed", "width", "image_height", "crop_size", "loss", "learning_rate",
    "max_epochs", "dataset", "classes",
)  # fmt: skip
"""Parameters of the run that are also logged for a model."""


@dataclass
class Weights:
    """Data logged for a stage's weights.

    Attributes:
        stage: stage of the training.
        sha256: digest of their file.
        epoch: epoch of the weights.
        scores: validation scores, logged with the model; may be empty.
    """

    stage: str
    sha256: str
    epoch: int
    scores: Mapping[str, float] = field(default_factory=dict)


def model_name(bundle: str, stage: str = "") -> str:
    """Return a name that MLflow accepts: `unet`, or `dilation10-front` for an earlier stage."""
    return re.sub(r"[/:.%\"']", "_", "-".join(filter(None, (bundle, stage)))) or "network"


def add_model(tracking: Tracking, name: str, weights: Weights, run_id: str | None) -> str | None:
    """Log weights as a model, without files, made by a run; return its id, or None if the store supports no models.

    If the run already has a model of the same weights, as after a resume, it is reused and completed.
    """
    if run_id is None:
        return None

    def add(client: MlflowClient) -> str:
        known = find_model(client, run_id, weights.stage, weights.sha256)
        model = _made(client, tracking, name, weights, run_id) if known is None else client.get_logged_model(known)
        for each in dict.fromkeys(filter(None, (run_id, tracking.stage_runs.get(weights.stage), tracking.run_id))):
            if model.model_id not in _outputs(client.get_run(each)):
                client.log_outputs(each, [LoggedModelOutput(model.model_id, weights.epoch)])
        if metrics := _metrics(tracking, weights, model, run_id):
            client.log_batch(run_id, metrics=metrics)
        return str(model.model_id)

    return tracking.optional(add, "logged models")


def _made(client: MlflowClient, tracking: Tracking, name: str, weights: Weights, run_id: str) -> LoggedModel:
    """Return a new model of a run."""
    params = {key: str(tracking.params[key])[:500] for key in PARAMETERS if tracking.params.get(key) is not None}
    tags = {**tracking.tags, **tracking.row_tags(weights.stage), DIGEST_TAG: weights.sha256}
    for key in (LOCK_TAG, MLFLOW_PARENT_RUN_ID, "kind"):
        tags.pop(key, None)
    return client.create_logged_model(
        client.get_run(run_id).info.experiment_id,
        name,
        source_run_id=run_id,
        tags={**tags, "stage": weights.stage, "epoch": str(weights.epoch)},
        params=params,
        model_type=KIND,
    )


def finish_model(tracking: Tracking, model_id: str | None, folder: Path | None = None) -> bool:
    """Upload a model's folder, or mark the model's weights as external; return whether that succeeded."""
    if model_id is None:
        return False

    def finish(client: MlflowClient) -> bool:
        if folder is not None:
            client.log_model_artifacts(model_id, str(folder))
        elif client.get_logged_model(model_id).status != LoggedModelStatus.READY:
            client.set_logged_model_tags(model_id, {MLFLOW_MODEL_IS_EXTERNAL: "true"})
            _upload_empty(client, model_id)
        client.finalize_logged_model(model_id, LoggedModelStatus.READY)
        return True

    return bool(tracking.optional(finish, "files of logged models"))


def link_models(tracking: Tracking, records: Sequence[Mapping[str, Any]]) -> None:
    """Log trained models as inputs of an evaluation's run, and link its scores with the model if there is only one.

    Args:
        records: `run_id`, `stage` and `weights_sha256` of each training; those missing in the store are skipped.
    """

    def link(client: MlflowClient) -> None:
        keys = [[record.get(key) for key in ("run_id", "stage", DIGEST_TAG)] for record in records]
        found = [find_model(client, *map(str, key)) for key in keys if all(key)]
        models = [each for each in found if each is not None]
        if models:
            client.log_inputs(tracking.run_id, models=[LoggedModelInput(each) for each in dict.fromkeys(models)])
        if len(records) == len(models) == 1:
            tracking.model_id = models[0]

    tracking.optional(link, "links to logged models")


def find_model(client: MlflowClient, run_id: str, stage: str, sha256: str) -> str | None:
    """Return the id of the logged model with a stage's weights that a run made; None if the store has none."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException:  # a training elsewhere
        return None
    wanted = {"stage": stage, DIGEST_TAG: sha256}.items()
    for output in _outputs(run):
        if wanted <= client.get_logged_model(output).tags.items():
            return output
    made = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'")
    return next((model.model_id for model in made if wanted <= model.tags.items()), None)


def _outputs(run: Run) -> list[str]:
    return [] if run.outputs is None else [output.model_id for output in run.outputs.model_outputs]


def _metrics(tracking: Tracking, weights: Weights, model: LoggedModel, run_id: str) -> list[Metric]:
    """Return the scores that a model lacks, dated to its creation: a store drops points that the run already has."""
    has, (name, digest) = {m.key for m in model.metrics or [] if m.run_id == run_id}, tracking.data_set
    values = {key: value for key, value in weights.scores.items() if value == value}
    linked = {"model_id": model.model_id, "dataset_name": name, "dataset_digest": digest}
    pairs = [(key, float(value)) for key, value in zip(metric_names(values), values.values(), strict=True)]
    time = model.creation_timestamp
    return [Metric(key, value, time, weights.epoch, **linked) for key, value in pairs if key not in has]


def _upload_empty(client: MlflowClient, model_id: str) -> None:
    """Upload the description required to register a model, as `mlflow.create_external_model` writes it."""
    from mlflow.models.model import MLMODEL_FILE_NAME  # takes a second
    from mlflow.models.utils import get_external_mlflow_model_spec

    with tempfile.TemporaryDirectory() as folder:
        get_external_mlflow_model_spec(client.get_logged_model(model_id)).save(str(Path(folder) / MLMODEL_FILE_NAME))
        client.log_model_artifacts(model_id, folder)
