"""Tags that MLflow's pages show: source, commit and user of a run, and the kind of its experiment."""

from __future__ import annotations

import os

from mlflow.entities import LifecycleStage, SourceType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_BRANCH,
    MLFLOW_GIT_COMMIT,
    MLFLOW_GIT_DIRTY,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
    MLFLOW_USER,
)

from engines.base.checkout import checkout
from engines.base.paths import code_root
from engines.base.signals import hides_interruption
from engines.records.mlflow_store import sqlite_path
from transforms.errors import UserError

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Tags of new experiments: MLflow's pages show an experiment without them as one of language models."""


def context_tags(source: str, user: str | None = None) -> dict[str, str]:
    """Return tags of source, commit and user.

    The commit is that of the code's checkout, if any. The repository's address, which may hold a password, and its
    path, which may hold a name, are omitted.

    Args:
        source: what is run, such as bundles/unet/configs/train.json; empty for none.
        user: owner of the run; by default `MLFLOW_TRACKING_USERNAME`, else no user is named.
    """
    tags = {MLFLOW_SOURCE_NAME: source, MLFLOW_SOURCE_TYPE: SourceType.to_string(SourceType.LOCAL)} if source else {}
    state = checkout(code_root())
    if state is not None:
        tags |= {MLFLOW_GIT_COMMIT: state.commit, MLFLOW_GIT_DIRTY: str(state.changed).lower()}
        tags |= {MLFLOW_GIT_BRANCH: state.branch} if state.branch else {}
    user = user or os.environ.get("MLFLOW_TRACKING_USERNAME")
    return tags | ({MLFLOW_USER: user} if user else {})


def experiment_id(client: MlflowClient, name: str, tracking_uri: str) -> str:
    """Return the id of the experiment `name`, which is created if missing; an existing one keeps its tags.

    Raises:
        UserError: it was deleted.
    """
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage != LifecycleStage.ACTIVE:
            raise UserError(
                f"cannot log: experiment {name} is deleted; restore it with mlflow experiments restore "
                f"--experiment-id {found.experiment_id}, or give another --experiment_name"
            )
        return str(found.experiment_id)
    database = sqlite_path(tracking_uri)
    location = (database.parent / "mlruns").absolute().as_uri() if database is not None else None
    try:
        return str(client.create_experiment(name, location, EXPERIMENT_TAGS))
    except MlflowException as error:  # another process was faster
        found = client.get_experiment_by_name(name)
        if found is None or hides_interruption(error):
            raise
        return str(found.experiment_id)
