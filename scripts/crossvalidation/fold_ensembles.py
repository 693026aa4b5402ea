"""Ensemble of several finished cross-validations: per fold, the mean of the networks trained without it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from engines.base.command_values import quoted
from engines.base.paths import bundle_folder, project_root
from engines.records.ensemble_members import STAGE, Trained, ensemble_tags, trained_members
from engines.records.evaluation_record import FILE as EVALUATION
from engines.records.mlflow_run import Tracking
from engines.records.mlflow_store import disable_telemetry
from engines.records.tables import write_text
from engines.records.trained_model import DIGEST
from engines.runs.owned_run import own, tracked
from engines.scoring.draws import DRAWS, SEED
from engines.scoring.operating_point import rule_rate
from scripts.comparison.choice import comparable
from scripts.comparison.models import model_of
from scripts.comparison.out_of_fold import at_points
from scripts.comparison.store import Result, cross_validation
from scripts.comparison.table import Comparison, compare
from scripts.crossvalidation.fold_table import DAMAGED, fold_result, results
from scripts.crossvalidation.logged_again import logged
from scripts.crossvalidation.process import run_training, terminable
from scripts.crossvalidation.run import by_group, image_attributes, log_comparison
from scripts.crossvalidation.state import Plan, begin, fold_folder, is_finished, read, save, set_finished
from transforms.dataset import Dataset
from transforms.errors import UserError
from transforms.strict_json import read_object

FILE = "ensemble.json"
"""File in the folder of a fold with the members and the operating point of the ensemble."""

COUNTED = ("lesion_class", "hit", "min_lesion_size", "min_lesion_score")
"""Options of the trainings for counting lesions, which the ensemble inherits."""


@dataclass(frozen=True)
class Source:
    """Finished cross-validation whose networks are members.

    Attributes:
        text: argument of the user.
        weights: "model" or the name of a stage.
    """

    text: str
    folder: Path
    weights: str
    plan: Plan

    def member(self, number: int) -> str:
        """Return the training of a fold in the form for `trained_members`."""
        folder = fold_folder(self.folder, number)
        return str(folder if self.weights == "model" else folder / "models" / f"{self.weights}.pt")


def ensemble_cross_validation(
    sources: Sequence[str],
    rule: str | None,
    *,
    attributes: Path | None = None,
    out: Path | None,
    tracking_uri: str | None,
    experiment_name: str,
) -> Comparison:
    """Score the ensemble on all unfinished folds, and compare it with its members over all subjects.

    Args:
        sources: folders of cross-validations, or their names in outputs/crossval; a suffix ":STAGE" selects the
            weights of an earlier stage.
        rule: rule for operating points, see `choose_point`; that of a fold is chosen on the ensemble's predictions
            for the other folds.
        attributes: table of attributes to group images by, see `read_attributes`.

    Raises:
        UserError: fewer than two sources, an unfinished one, or one with different folds.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    disable_telemetry()
    if rule is not None:
        rule_rate(rule)
    found = [_source(text) for text in sources]
    first = found[0].plan
    folds = [_members(found, number) for number in range(1, first.folds + 1)]
    _check_same_folds(found)
    data = Dataset.load(fold_folder(found[0].folder, 1) / "dataset")  # all images of all folds
    grouping = image_attributes(data, attributes)
    tags = ensemble_tags(folds[0])
    weights = (f"{m.title} {m.settings.get(DIGEST, '')[:12]}" for members in folds for m in members)
    plan = Plan(STAGE, first.folds, first.seed, first.dataset_digest, tuple(weights), first.folds_digest)
    name = "+".join(
        f"{source.folder.name}{'' if source.weights == 'model' else '-' + source.weights}" for source in found
    )
    out = (out or project_root() / "outputs" / "crossval" / f"{STAGE}-{name}"[:200]).resolve()
    run_id = begin(out, plan)
    params = {
        "members": ", ".join(m.title for m in folds[0]),
        "folds": plan.folds,
        "dataset_digest": first.dataset_digest,
    }
    tracking = Tracking(
        experiment_name, f"{tags['title']}, {plan.folds} folds", tracking_uri, params, tags={"kind": "crossval"}
    )
    tracking.source = "scripts/ensemble.py"
    with terminable(), own(out, tracking, task="cross-validation", option="--out"), tracked(tracking, run_id):
        save(out, plan, tracking.run_id)
        in_store = logged(tracking)
        for number in range(1, plan.folds + 1):
            if not _is_scored(out, number, plan.folds, in_store):
                _score(found, out, number, tracking)
        rows = [
            row for source in found for row in results(source.folder, source.plan, rule) if row.stage == _stage(source)
        ]
        rows.append(_result(out, plan, tags, rule))
        comparison = by_group(compare(comparable(rows), DRAWS, SEED), grouping, out)
        return log_comparison(comparison, out, tracking, only=STAGE)


def _source(text: str) -> Source:
    path, weights = Path(text), "model"
    if not path.is_dir() and ":" in text:
        place, _, weights = text.rpartition(":")
        path = Path(place)
    if not path.is_dir():
        path = project_root() / "outputs" / "crossval" / path
    plan, _ = read(path)
    missing = [number for number in range(1, plan.folds + 1) if not is_finished(path, number)]
    if missing:
        raise UserError(f"{text}: fold {missing[0]} of {plan.folds} is not finished; run its scripts.crossval again")
    return Source(text, path.resolve(), weights, plan)


def _members(sources: Sequence[Source], number: int) -> list[Trained]:
    """Return the checked members of one fold."""
    return trained_members([f"{source.plan.bundle}={source.member(number)}" for source in sources])


def _check_same_folds(sources: Sequence[Source]) -> None:
    """Raise UserError unless all sources have the same images in the same folds."""
    first, *others = sources
    for other in others:
        if other.plan.folds != first.plan.folds:
            raise UserError(
                f"{other.text}: has {other.plan.folds} folds, {first.text} {first.plan.folds}; expected "
                "cross-validations with the same --folds_file"
            )
        for number in range(1, first.plan.folds + 1):
            digests = [Dataset.load(fold_folder(s.folder, number) / "dataset").digest for s in (first, other)]
            if digests[0] != digests[1]:
                raise UserError(
                    f"{other.text}: fold {number} has other images than that of {first.text}; expected "
                    "cross-validations with the same data set and --folds_file"
                )


def _is_scored(out: Path, number: int, folds: int, in_store: set[tuple[str, str]] | None) -> bool:
    """Whether a fold was scored earlier and its run is still in the MLflow store, as far as that answers; says so."""
    finished = is_finished(out, number)
    lost = in_store is not None and str(number) not in {fold for fold, _ in in_store}
    done = f"scored earlier{', but its run is not in the MLflow store; scored again' if lost else ''}."
    text = done if finished else str(fold_folder(out, number))
    Console(stderr=True, highlight=False).print(f"Fold {number} of {folds}: {text}", soft_wrap=True)
    return finished and not lost


def _score(sources: Sequence[Source], out: Path, number: int, tracking: Tracking) -> None:
    """Evaluate the ensemble on one fold in a separate process."""
    folds, folder = sources[0].plan.folds, fold_folder(out, number)
    members = [f"{s.plan.bundle}={os.path.relpath(s.member(number), folder)}" for s in sources]
    write_text(folder / FILE, json.dumps({"members": members, "operating_point": None}, indent=2) + "\n")
    tags = {"fold": str(number), "folds": str(folds), "crossval_name": tracking.run_name}
    if tracking.run_id is not None:
        tags |= {"crossval": tracking.run_id, "mlflow.parentRunId": tracking.run_id}
    options = _counted(fold_folder(sources[0].folder, number))
    code = run_training(
        [
            sys.executable, "-m", "monai.bundle", "run",
            "--config_file", str(bundle_folder(sources[0].plan.bundle) / "configs" / "evaluate.json"),
            "--members", str(folder / FILE),
            "--dataset_dir", str(fold_folder(sources[0].folder, number) / "dataset"),
            "--output_dir", str(folder),
            "--run_name", f"{STAGE} fold {number} of {folds}",
            "--tags", str(tags),
            "--experiment_name", quoted(tracking.experiment_name),
            "--tracking_uri", tracking.tracking_uri,
            *(word for name, value in options.items() for word in (f"--{name}", str(value))),
        ]
    )  # fmt: skip
    if code:
        raise UserError(f"fold {number} of {folds} ended with code {code}, see above; repeat the command to resume")
    set_finished(out, number, tags)


def _counted(training: Path) -> dict[str, Any]:
    """Return the options of a training for counting lesions that have a value."""
    config = read_object(training / "eval" / "config.json", DAMAGED)
    return {name: config[name] for name in COUNTED if config.get(name) is not None}


def _stage(source: Source) -> str:
    """Return the stage of a source's weights."""
    path = fold_folder(source.folder, 1) / "models" / f"{source.weights}.json"
    return str(read_object(path, DAMAGED).get("stage"))


def _result(out: Path, plan: Plan, tags: dict[str, str], rule: str | None) -> Result:
    """Return the row of the ensemble; store its operating points with the members."""
    folders = [fold_folder(out, number) for number in range(1, plan.folds + 1)]
    found = [next(iter(sorted(folder.glob(f"eval/*/{EVALUATION}")))).parent for folder in folders]
    folds = [
        fold_result(place, STAGE, f.name, {}, model_of(tags, STAGE)) for place, f in zip(found, folders, strict=True)
    ]
    if rule is not None:
        folds = at_points(folds, rule)
        for folder, fold in zip(folders, folds, strict=True):
            content = read_object(folder / FILE, DAMAGED)
            content["operating_point"] = None if fold.lesions is None else fold.lesions.point
            write_text(folder / FILE, json.dumps(content, indent=2) + "\n")
    return cross_validation(folds, f"{tags['title']}, {plan.folds} folds", plan.folds)
