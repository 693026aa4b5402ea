"""The models of a comparison as versions of a registered model, with the alias `best`."""

from __future__ import annotations

from collections.abc import Sequence

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from scripts.comparison.store import Result
from scripts.comparison.table import Comparison
from transforms.errors import UserError

ALIAS = "best"
MODEL_TAG = "model_id"
"""Tag of a version: the logged model that it is; MLflow's search does not give it."""


def register(uri: str, comparisons: Sequence[Comparison], name: str) -> list[str]:
    """Make a version of each row's logged model, unless it is one; the best row's gets the alias. Returns sentences.

    Args:
        uri: of the MLflow store.
        comparisons: must be one, as versions of one name are compared with each other.
        name: of the registered model, made if missing.

    Raises:
        UserError: several data sets, or no row has a logged model.
    """
    if len(comparisons) != 1:
        names = ", ".join(comparison.dataset for comparison in comparisons)
        raise UserError(f"--register {name}: several data sets are compared ({names}); give one with --dataset")
    if not name.strip() or set(name) & set("/:'\"%."):
        raise UserError(f"--register {name}: expected a name without / : . % and quotes")
    client, (comparison,) = MlflowClient(uri), comparisons
    models = {row.title: _model_of(client, row.result) for row in comparison.rows if row.result is not None}
    found = {title: model for title, model in models.items() if model is not None}
    if not found:
        raise UserError(f"--register {name}: no row has a logged model; train again with this version")
    best = comparison.reference
    if comparison.verdict is not None and comparison.verdict.statement is not None:
        best = comparison.verdict.statement.best
    _make(client, name)
    said = []
    for title, model in found.items():
        version = _version(client, name, model, {"title": title, "dataset": comparison.dataset})
        said.append(f"{name} version {version}: {title}{f' ({ALIAS})' if title == best else ''}")
        if title == best:
            client.set_registered_model_alias(name, ALIAS, version)
    if best not in found:
        said.append(f"The best row, {best}, has no logged model: the alias {ALIAS} stays as it is.")
    return said


def _model_of(client: MlflowClient, result: Result) -> str | None:
    """Id of the logged model of a row that is one training's; None for others."""
    if len(result.run_ids) != 1 or result.pictures is not None:
        return None
    run = client.get_run(result.run_ids[0])
    ids = [output.model_id for output in run.outputs.model_outputs] if run.outputs else []
    ids += [given.model_id for given in run.inputs.model_inputs] if run.inputs else []
    models = [client.get_logged_model(each) for each in ids]
    return next((model.model_id for model in models if model.tags.get("stage") == result.stage), None)


def _make(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise UserError(f"--register {name}: {str(error).splitlines()[0]}") from None


def _version(client: MlflowClient, name: str, model: str, tags: dict[str, str]) -> str:
    for known in client.search_model_versions(f"name = '{name}'"):
        if known.tags.get(MODEL_TAG) == model:
            return str(known.version)
    run_id = client.get_logged_model(model).source_run_id
    made = client.create_model_version(name, f"models:/{model}", run_id, {**tags, MODEL_TAG: model}, model_id=model)
    return str(made.version)
