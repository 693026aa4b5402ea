"""Registration of a comparison's models as versions of a registered model, with the alias `best`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from scripts.comparison.store import Result
from scripts.comparison.table import Comparison
from transforms.errors import UserError

ALIAS = "best"
MODEL_TAG = "model_id"
"""Tag of a version with the id of its logged model, which MLflow's search does not return."""


def register(uri: str, comparisons: Sequence[Comparison], name: str) -> list[str]:
    """Register each row's logged model as a version, unless registered before; the best row's gets the alias.

    Args:
        uri: address of the MLflow store.
        comparisons: expected to be one, since versions of one model are compared with each other.
        name: name of the registered model, created if missing.

    Returns messages for the user.

    Raises:
        UserError: there are several data sets, no row has a logged model, or the store refuses; no empty registered
            model is left then.
    """
    if len(comparisons) != 1:
        names = ", ".join(comparison.dataset for comparison in comparisons)
        raise UserError(f"--register {name}: several data sets are compared ({names}); give one with --dataset")
    if not name.strip() or set(name) & set("/:'\"%."):
        raise UserError(f"--register {name}: expected a name without / : . % and quotes")
    (comparison,) = comparisons
    rows = [(row.title, row.result) for row in comparison.rows if row.result is not None and _is_training(row.result)]
    best = comparison.reference
    if comparison.verdict is not None and comparison.verdict.statement is not None:
        best = comparison.verdict.statement.best
    said = []
    try:
        client = MlflowClient(uri) if rows else None  # without runs, no store is opened or created
        models = [(title, _model_of(client, result)) for title, result in rows] if client is not None else []
        found = {title: model for title, model in models if model is not None}
        if client is None or not found:
            raise UserError(f"--register {name}: no row has a logged model; train again with this version")
        with _registered(client, name):
            for title, model in found.items():
                version = _version(client, name, model, {"title": title, "dataset": comparison.dataset})
                said.append(f"{name} version {version}: {title}{f' ({ALIAS})' if title == best else ''}")
                if title == best:
                    client.set_registered_model_alias(name, ALIAS, version)
    except MlflowException as error:
        reason = str(error).strip().splitlines()[0][:300]
        raise UserError(f"--register {name}: refused by {uri} ({reason}); give another --tracking_uri") from error
    if best not in found:
        said.append(f"The best row, {best}, has no logged model: the alias {ALIAS} is unchanged.")
    return said


def _is_training(result: Result) -> bool:
    """Whether a row is a single training, which may have a logged model."""
    return len(result.run_ids) == 1 and result.pictures is None


def _model_of(client: MlflowClient, result: Result) -> LoggedModel | None:
    """Return the logged model of a row, or None."""
    run = client.get_run(result.run_ids[0])
    ids = [output.model_id for output in run.outputs.model_outputs] if run.outputs else []
    ids += [given.model_id for given in run.inputs.model_inputs] if run.inputs else []
    models = [client.get_logged_model(each) for each in ids]
    return next((model for model in models if model.tags.get("stage") == result.stage), None)


@contextmanager
def _registered(client: MlflowClient, name: str) -> Iterator[None]:
    """Create the registered model if missing; delete it again if the block fails and leaves it empty."""
    made = True
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        made = False
    try:
        yield
    except BaseException:
        if made and not client.search_model_versions(f"name = '{name}'"):
            client.delete_registered_model(name)
        raise


def _version(client: MlflowClient, name: str, model: LoggedModel, tags: dict[str, str]) -> str:
    """Return the version of the registered model for this logged model, created if missing.

    Its source is the location of the files, not `models:/<id>`: to resolve that, a database registry uses the store
    that is set for the process instead of the client's, and creates one in the current folder if none is set.
    """
    for known in client.search_model_versions(f"name = '{name}'"):
        if known.tags.get(MODEL_TAG) == model.model_id:
            return str(known.version)
    made = client.create_model_version(
        name,
        model.artifact_location,
        model.source_run_id,
        {**tags, MODEL_TAG: model.model_id},
        model_id=model.model_id,
    )
    return str(made.version)
