"""Files of a run in an MLflow store."""

from __future__ import annotations

import tempfile
from pathlib import Path

import mlflow.exceptions
from mlflow.tracking import MlflowClient
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri


def run_file(client: MlflowClient, run_id: str, artifact_uri: str, path: str) -> bytes | None:
    """Return the content of a run's file, or None if the run does not have it. Local files are read in place.

    Args:
        artifact_uri: where the run's files are.
        path: relative to it, as in eval/confusion-unet.json.

    Raises:
        OSError: the file cannot be read.
        mlflow.exceptions.MlflowException: the server does not return the file, or does not answer.
    """
    if artifact_uri and is_local_uri(artifact_uri, is_tracking_or_registry_uri=False):
        try:
            return Path(local_file_uri_to_path(artifact_uri), path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
    try:
        with tempfile.TemporaryDirectory() as folder:
            return Path(client.download_artifacts(run_id, path, folder)).read_bytes()
    except (OSError, mlflow.exceptions.MlflowException):  # MLflow does not say whether the file is missing
        if path in [file.path for file in client.list_artifacts(run_id, path.rpartition("/")[0])]:
            raise
        return None
