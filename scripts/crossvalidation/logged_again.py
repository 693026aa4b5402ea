"""Log finished folds again from their folders if the MLflow store lacks them: it was deleted, or did not answer.

Nothing is trained or scored again. This restores the input of `scripts.compare`: matrices, lesions, boundaries,
pictures, scores and options. Losses per epoch (see eval/epochs.csv) and logged models are not restored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlflow.tracking import MlflowClient

from engines.base.network_file import read_rows
from engines.base.paths import bundle_folder
from engines.records.mlflow_run import Tracking
from engines.runs.owned_run import tracked
from scripts.crossvalidation.fold_table import DAMAGED
from scripts.crossvalidation.state import Plan, fold_folder, is_finished, set_finished
from transforms.errors import UserError
from transforms.strict_json import read_object

TAG = "logged_from"
"""Tag with the source of a run that was logged again."""

LOGGED = ("*.csv", "*.json", "*.png")
"""Files in eval/ that are logged."""


def log_finished(
    out: Path,
    plan: Plan,
    tracking: Tracking,
    tags: Callable[[int], Mapping[str, str]],
    say: Callable[[int, str], None],
) -> None:
    """Log finished folds that have no child run of the cross-validation's run.

    Args:
        tracking: tracking of the cross-validation, started.
        tags: returns the tags of the run of a fold's training.
        say: prints a message about a fold.

    Raises:
        UserError: a fold's eval/config.json is damaged.
    """
    finished = [number for number in range(1, plan.folds + 1) if is_finished(out, number)]
    known = logged(tracking) if finished else None
    if known is None:
        return
    for number in finished:
        folder = fold_folder(out, number)
        config = read_object(folder / "eval" / "config.json", DAMAGED)
        stages = config.get("stages")
        if not isinstance(stages, list):
            raise UserError(f"{folder / 'eval' / 'config.json'}: has no list of stages; {DAMAGED}")
        if all((str(number), stage) in known for stage in ("", *stages)):
            continue
        say(number, f"is not in {tracking.tracking_uri}; logged again from {folder}.")
        name = f"{plan.bundle} fold {number} of {plan.folds}"
        about = {**tags(number), "kind": "training", TAG: "its folder"}
        own = Tracking(tracking.experiment_name, name, tracking.tracking_uri, _parameters(config), tags=about)
        own.source, own.rows = tracking.source, read_rows(bundle_folder(plan.bundle))
        with tracked(own):
            _log(folder, stages, own)
        if not own.failed:
            set_finished(out, number, tags(number))


def logged(tracking: Tracking) -> set[tuple[str, str]] | None:
    """Return fold and stage of each finished run of a cross-validation; None if the store does not answer.

    Args:
        tracking: the started run of the cross-validation. The stage of a training's own run is "".
    """
    return tracking.optional(lambda client: _logged(client, tracking), "search for runs")


def _logged(client: MlflowClient, tracking: Tracking) -> set[tuple[str, str]]:
    experiment = client.get_experiment_by_name(tracking.experiment_name)
    wanted = f"tags.crossval = '{tracking.run_id}' and attributes.status = 'FINISHED'"
    runs = client.search_runs([experiment.experiment_id], wanted, max_results=10_000)
    return {(run.data.tags.get("fold", ""), run.data.tags.get("stage", "")) for run in runs}


def _parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of the training that have a value."""
    return {key: value for key, value in config.items() if value is not None and key not in ("labels", "licence")}


def _log(folder: Path, stages: list[str], tracking: Tracking) -> None:
    """Log a run per stage, and the files of the whole training."""
    evaluated, scores = folder / "eval", {}
    for stage in stages:
        tracking.start_stage(stage, {})
        for kind in ("confusion", "lesions", "boundary"):
            tracking.log_artifacts(evaluated / f"{kind}-{stage}.json", "eval", tracking.stage_run_id)
        tracking.log_artifacts(evaluated / "predictions" / stage, f"eval/predictions/{stage}", tracking.stage_run_id)
        scores = _scores(folder / "models" / f"{stage}.json")
        tracking.end_stage(scores)
    tracking.log_metrics({name: value for name, value in scores.items() if name != "epoch"}, step=0)
    for path in sorted(path for pattern in LOGGED for path in evaluated.glob(pattern)):
        tracking.log_artifacts(path, "eval")
    tracking.log_artifacts(evaluated / "predictions", "eval/predictions")
    for name in ("model.pt", "model.json"):
        tracking.log_artifacts(folder / "models" / name, "models")


def _scores(path: Path) -> dict[str, float]:
    """Return validation scores and epoch of a stage's weights; empty if the file is missing."""
    record = read_object(path, DAMAGED) if path.is_file() else {}
    values = {**(record.get("validation") or {}), "epoch": record.get("epoch")}
    return {name: value for name, value in values.items() if value is not None}
