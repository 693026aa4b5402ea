"""Results of trainings, evaluations and cross-validations, read from the MLflow store."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import mlflow.exceptions
import numpy as np
from mlflow.entities import Run
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from numpy.typing import NDArray
from sqlalchemy.exc import SQLAlchemyError

from engines.records.mlflow_store import SHORT_WAIT, check_server, sqlite_path
from engines.scoring.boundary_scores import BoundaryResult, pooled_boundaries, read_boundary_result
from engines.scoring.confusion_files import read_matrices
from engines.scoring.lesion_files import LesionResult, pooled_lesions, read_lesion_result
from scripts.comparison.models import UNKNOWN, Model, model_of
from scripts.comparison.run_files import run_file
from transforms.errors import UserError

ODD = (KeyError, TypeError, ValueError, AttributeError, IndexError)
"""Errors from reading files that were edited by hand."""

Matrices = dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Result:
    """Results of one row: a stage of a training, an evaluation, or the folds of a cross-validation.

    Attributes:
        subjects: subject → confusion matrix (rows = truth).
        folds: `subjects` of each fold; one entry without a cross-validation.
        params: parameters of the training.
        run_ids: ids of the runs that the result was read from.
        whole: whether the training completed all its stages.
        digest: digest of the data set, or of the data sets of all folds.
        lesions: counted lesions, if any; for a cross-validation, of all folds.
        lesion_folds: counted lesions of each fold.
        boundaries: boundary measurements, if any; for a cross-validation, of all folds.
        model: row of the result.
        seeds: results of equal trainings with other seeds.
        pictures: folder of the pictures of a result from files; None for a result from the store.
        from_masks: whether lesions were counted on masks, for lack of probabilities.
    """

    stage: str
    run_name: str
    run_ids: tuple[str, ...]
    section: str
    classes: tuple[str, ...]
    dataset: str
    digest: str
    subjects: Matrices = field(repr=False)
    started: int = 0
    folds: tuple[Matrices, ...] = field(default=(), repr=False)
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    parent_id: str | None = None
    expected_folds: int = 1
    whole: bool = True
    lesions: LesionResult | None = field(default=None, repr=False)
    lesion_folds: tuple[LesionResult, ...] = field(default=(), repr=False)
    boundaries: BoundaryResult | None = field(default=None, repr=False)
    model: Model = UNKNOWN
    seeds: tuple[Result, ...] = field(default=(), repr=False)
    pictures: Path | None = None
    from_masks: bool = False

    @property
    def trainings(self) -> tuple[Result, ...]:
        """This result and those with other seeds."""
        return (self, *self.seeds)

    @property
    def trained_on(self) -> str:
        """Data set on which the network of an evaluation was trained; empty if not recorded."""
        return str(self.params.get("trained_on", ""))

    @property
    def row(self) -> tuple[str, str, str]:
        """Key that identifies a row of a table."""
        return self.model.bundle, self.stage, self.trained_on

    @property
    def name(self) -> str:
        """Name for messages."""
        return f"{self.run_name} ({self.run_ids[0][:8]})" if self.run_ids else self.run_name

    @property
    def basis(self) -> tuple[Any, ...]:
        """Key that all rows of a table must share."""
        return self.section, self.classes, self.digest, tuple(sorted(self.subjects))


class Store:
    """Reader of the runs of an experiment.

    Raises:
        UserError: the store does not respond, or the experiment is unknown.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri = uri
        for name, value in {**SHORT_WAIT, "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}.items():
            os.environ.setdefault(name, value)
        database = sqlite_path(uri)
        if database is not None and not database.is_file():
            raise UserError(f"{database}: no MLflow store here; train a bundle first, or give --tracking_uri")
        with _answering(uri):
            check_server(uri)
            self.client = MlflowClient(uri)
            found = self.client.get_experiment_by_name(experiment)
            names = [] if found else sorted(e.name for e in self.client.search_experiments())
        if found is None:
            raise UserError(
                f"--experiment_name {experiment}: not in {uri}; train a bundle first, or choose from {', '.join(names)}"
            )
        self.experiment_id = found.experiment_id
        self._known: dict[str, Run | None] = {}

    def runs(self) -> Iterator[Run]:
        """Yield finished runs of stages and evaluations, each of one row, the latest first."""
        token = None
        while True:
            with _answering(self.uri):
                page = self.client.search_runs(
                    [self.experiment_id],
                    filter_string="attributes.status = 'FINISHED'",
                    order_by=["attributes.start_time DESC"],
                    max_results=500,
                    page_token=token,
                )
            for run in page:
                self._known[run.info.run_id] = run
                if "stage" in run.data.tags:
                    yield run
            token = page.token
            if not token:
                return

    def result(self, run: Run, full: bool = True) -> Result | None:
        """Read the result of a run; None without confusion matrices, as from older versions.

        Args:
            full: also read lesions and boundaries; else `completed` adds them.

        Raises:
            UserError: the files are damaged.
        """
        stage = run.data.tags["stage"]
        content = self._evidence(run.info.run_id, f"confusion-{stage}")
        if content is None:
            return None
        parent_id = run.data.tags.get(MLFLOW_PARENT_RUN_ID) if run.data.tags.get("kind") == "stage" else None
        with _answering(self.uri):
            training = self._training(parent_id)
        try:
            return of_evidence(
                content,
                self._evidence(run.info.run_id, f"lesions-{stage}") if full else None,
                self._evidence(run.info.run_id, f"boundary-{stage}") if full else None,
                run_name=run.info.run_name or "",
                run_ids=(run.info.run_id,),
                started=run.info.start_time,
                params={**(training.data.params if training else {}), **run.data.params},
                parent_id=parent_id,
                whole=training is None or training.info.status == "FINISHED",
                model=model_of(run.data.tags, stage),
            )
        except ODD as error:
            raise self._odd(run.info.run_id, error) from None

    def completed(self, result: Result) -> Result:
        """Add lesions and boundaries to a result of one run that was read without them, and to its `seeds`.

        Raises:
            UserError: the files are damaged.
        """
        (run_id,) = result.run_ids
        lesions, measured = (self._evidence(run_id, f"{kind}-{result.stage}") for kind in ("lesions", "boundary"))
        try:
            return replace(
                result,
                lesions=None if lesions is None else read_lesion_result(lesions),
                boundaries=None if measured is None else read_boundary_result(measured),
                seeds=tuple(map(self.completed, result.seeds)),
            )
        except ODD as error:
            raise self._odd(run_id, error) from None

    def _odd(self, run_id: str, error: Exception) -> UserError:
        return UserError(
            f"{self.uri}: the results of run {run_id} are damaged "
            f"({type(error).__name__}); delete the run (mlflow runs delete --run-id …)"
        )

    def _evidence(self, run_id: str, name: str) -> dict[str, Any] | None:
        """Read eval/<name>.json; None if missing.

        Raises:
            UserError: the file is damaged, or cannot be read.
        """
        run = self._known.get(run_id)
        uri = "" if run is None else run.info.artifact_uri or ""
        with _answering(self.uri):
            text = run_file(self.client, run_id, uri, f"eval/{name}.json")
        try:
            return None if text is None else dict(json.loads(text))
        except (*ODD, RecursionError) as error:
            raise self._odd(run_id, error) from None

    def _training(self, run_id: str | None) -> Run | None:
        """Return the run with this id, or None, for instance if it was deleted permanently."""
        if run_id is not None and run_id not in self._known:
            try:
                self._known[run_id] = self.client.get_run(run_id)
            except mlflow.exceptions.MlflowException as error:
                if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                    raise
                self._known[run_id] = None
        return None if run_id is None else self._known[run_id]

    def pictures(self, result: Result, kind: str, folder: Path) -> dict[str, Path]:
        """Return pictures of eval/predictions/<kind>, of the run or else its training: case → file."""
        if result.pictures is not None:
            return local_pictures(result, kind)
        for run_id in (result.run_ids[0], result.parent_id):
            if run_id is None:
                continue
            target = folder / run_id
            target.mkdir(parents=True, exist_ok=True)
            try:
                path = self.client.download_artifacts(run_id, f"eval/predictions/{kind}", str(target))
            except (OSError, mlflow.exceptions.MlflowException):
                continue
            return {file.stem: file for file in sorted(Path(path).glob("*.png"))}
        return {}


class NoStore(Store):
    """Store without runs, for rows that are only from files."""

    def __init__(self) -> None:
        self.uri = "files"

    def runs(self) -> Iterator[Run]:
        """Yield no runs."""
        return iter(())

    def pictures(self, result: Result, kind: str, folder: Path) -> dict[str, Path]:
        """Return the pictures in the result's own folder."""
        return local_pictures(result, kind)


def local_pictures(result: Result, kind: str) -> dict[str, Path]:
    """Return pictures in the own folder of a result from files: case → file."""
    if result.pictures is None:
        return {}
    own = result.pictures / ("prediction" if kind == result.stage else kind)
    return {file.stem: file for file in sorted(own.glob("*.png"))}


@contextmanager
def _answering(uri: str) -> Iterator[None]:
    """Raise UserError if the store does not respond, or if its file is damaged or not a database."""
    try:
        yield
    except (OSError, ImportError, sqlite3.Error, SQLAlchemyError, mlflow.exceptions.MlflowException) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(f"{uri}: the MLflow store does not answer ({reason}); give --tracking_uri") from error


def of_evidence(
    content: Mapping[str, Any], lesions: Mapping[str, Any] | None, measured: Mapping[str, Any] | None, **about: Any
) -> Result:
    """Build a result from eval/confusion-<row>.json, lesions-… and boundary-…, and its other attributes."""
    subjects = read_matrices(content)
    return Result(
        stage=content["row"],
        section=content["section"],
        classes=tuple(content["classes"]),
        dataset=content["dataset"],
        digest=content["dataset_digest"],
        subjects=subjects,
        folds=(subjects,),
        lesions=None if lesions is None else read_lesion_result(lesions),
        boundaries=None if measured is None else read_boundary_result(measured),
        **about,
    )


def cross_validation(folds: Sequence[Result], name: str, expected: int) -> Result:
    """Combine the folds of one cross-validation into one row with the subjects of all folds.

    Raises:
        UserError: a subject is in two folds.
    """
    subjects: Matrices = {}
    for fold in folds:
        both = sorted(subjects.keys() & fold.subjects.keys())
        if both:
            raise UserError(f"{name}: subject {both[0]} is in two folds; expected the folds of one cross-validation")
        subjects.update(fold.subjects)
    lesions = [fold.lesions for fold in folds if fold.lesions is not None]
    measured = [fold.boundaries for fold in folds if fold.boundaries is not None]
    digests = sorted(fold.digest for fold in folds)
    first = folds[0]
    return Result(
        stage=first.stage,
        run_name=name,
        run_ids=tuple(run_id for fold in folds for run_id in fold.run_ids),
        started=max(fold.started for fold in folds),
        section=first.section,
        classes=first.classes,
        dataset=first.dataset,
        digest=hashlib.sha256(json.dumps(digests).encode()).hexdigest(),
        subjects=subjects,
        folds=tuple(fold.subjects for fold in folds),
        params=first.params,
        parent_id=first.parent_id,
        expected_folds=expected,
        lesions=pooled_lesions(lesions) if len(lesions) == len(folds) else None,
        lesion_folds=tuple(lesions),
        boundaries=pooled_boundaries(measured) if len(measured) == len(folds) else None,
        model=first.model,
    )
