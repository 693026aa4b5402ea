"""One training per fold, one after another, and the table over all subjects."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from engines.base.paths import bundle_folder, bundle_folders, project_root
from engines.records.attributes import Attributes, check_known, dataset_attributes, read_attributes
from engines.records.mlflow_run import Tracking
from engines.records.mlflow_store import disable_telemetry
from engines.runs.owned_run import own, tracked
from engines.scoring.operating_point import rule_rate
from scripts.comparison.draws import DRAWS, SEED
from scripts.comparison.group_table import FILE as GROUPS
from scripts.comparison.group_table import with_groups
from scripts.comparison.lesion_table import LesionRow
from scripts.comparison.table import Comparison, Row, compare, console
from scripts.crossvalidation.fold_table import results
from scripts.crossvalidation.folds import FOLDS, TRAINED, Folds, digest_of, read_folds, trained_subjects, write_folds
from scripts.crossvalidation.process import run_training, terminable
from scripts.crossvalidation.state import Plan, begin, fold_folder, is_finished, save, set_finished, training_command
from scripts.crossvalidation.views import fold_views, write_view
from scripts.importers.writing.split import folds_of
from scripts.sample import ensure_sample
from transforms.dataset import Dataset
from transforms.errors import UserError
from transforms.plain_text import one_line

OURS = ("--output_dir", "--resume", "--tags", "--run_name", "--config_file")
"""Options of a training that a fold is given by this command."""


def cross_validate(
    bundle: str,
    folds: int | None,
    folds_file: Path | None,
    dataset_dir: Path | None,
    seed: int,
    threshold_rule: str | None,
    options: Sequence[str],
    *,
    attributes: Path | None = None,
    out: Path | None,
    tracking_uri: str | None,
    experiment_name: str,
) -> Comparison:
    """Train every fold that is not finished, and compare over all subjects.

    Args:
        folds: how many; `FOLDS` where neither this nor a file is given.
        folds_file: which subject is in which fold, see `read_folds`.
        attributes: table of what images can be grouped by, see `read_attributes`.
        options: of the trainings, as on their command line.

    Raises:
        UserError: an option that does not fit, another cross-validation in `out`, or a fold that failed.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the fold's training has ended too.
    """
    disable_telemetry()
    config = _config(bundle)
    if threshold_rule is not None:
        rule_rate(threshold_rule)
    data = Dataset.load(dataset_dir or ensure_sample(project_root() / "data" / "sample"))
    grouping = image_attributes(data, attributes)
    dealt, folds_digest = _folds(data, folds, folds_file, seed)
    views = fold_views(data, dealt, seed)
    options = [*_checked(options), "--experiment_name", experiment_name]
    options += ["--tracking_uri", tracking_uri] if tracking_uri else []
    plan = Plan(bundle, len(dealt), seed, data.digest, tuple(options), folds_digest)
    out = (out or project_root() / "outputs" / "crossval" / f"{bundle}-{data.root.name}").resolve()
    run_id = begin(out, plan)
    params = {"bundle": bundle, "folds": plan.folds, "seed": seed, "dataset": data.name, "dataset_digest": data.digest}
    params |= {"folds_digest": digest_of(dealt)}
    name = f"{bundle}, {plan.folds} folds"
    tracking = Tracking(experiment_name, name, tracking_uri, params, tags={"kind": "crossval"})
    with terminable(), own(out, tracking, task="cross-validation", option="--out"), tracked(tracking, run_id):
        save(out, plan, tracking.run_id)
        tracking.log_artifacts(write_folds(dealt, out / "folds.csv"))
        for number, view in enumerate(views, start=1):
            write_view(view, fold_folder(out, number) / "dataset")
            _train(plan, config, out, number, tracking)
        comparison = compare(results(out, plan, threshold_rule), DRAWS, SEED)
        return log_comparison(by_group(comparison, grouping, out), out, tracking)


def _config(bundle: str) -> Path:
    config = bundle_folder(bundle) / "configs" / "train.json"
    if not config.is_file():
        names = sorted(p.parents[1].name for folder in bundle_folders() for p in folder.glob("*/configs/train.json"))
        raise UserError(f"{bundle}: no such bundle; there are {', '.join(names)}")
    return config


def _folds(data: Dataset, count: int | None, path: Path | None, seed: int) -> tuple[Folds, str | None]:
    """The folds; and their digest where a file prescribes them."""
    if path is None:
        return folds_of(trained_subjects(data), FOLDS if count is None else count, seed), None
    folds = read_folds(path, trained_subjects(data))
    if count not in (None, len(folds)):
        raise UserError(f"--folds {count}: {one_line(path)} has {len(folds)} folds; leave --folds out")
    return folds, digest_of(folds)


def _checked(options: Sequence[str]) -> list[str]:
    given = [word.partition("=")[0] for word in options]
    taken = [name for name in OURS if name in given]
    if taken:
        raise UserError(f"{taken[0]}: given to each fold by this command; leave it out")
    return list(options)


def _train(plan: Plan, config: Path, out: Path, number: int, tracking: Tracking) -> None:
    """Train one fold in a process of its own, unless that was done."""
    say = Console(stderr=True, highlight=False)
    if is_finished(out, number):
        say.print(f"Fold {number} of {plan.folds}: finished earlier.")
        return
    say.print(f"Fold {number} of {plan.folds}: {fold_folder(out, number)}", soft_wrap=True)
    tags = {"fold": str(number), "folds": str(plan.folds), "crossval_name": tracking.run_name}
    if tracking.run_id is not None:
        tags |= {"crossval": tracking.run_id, "mlflow.parentRunId": tracking.run_id}
    words = training_command([sys.executable], plan, config, out, number, tags)
    code = run_training(words)
    if code:
        raise UserError(
            f"fold {number} of {plan.folds} ended with code {code}, see above; the same command again goes on with it"
        )
    set_finished(out, number, tags)


def image_attributes(data: Dataset, path: Path | None) -> Attributes:
    """What dataset.json knows of the images, and what a table says.

    Raises:
        UserError: it cannot be read, or is of other images.
    """
    known = dataset_attributes(data)
    if path is None:
        return known
    given = read_attributes(path)
    images = ((item["subject"], Path(item["image"]).stem) for name in TRAINED for item in data.content[name])
    check_known(given, images, data.name)
    return given.over(known)


def by_group(comparison: Comparison, attributes: Attributes, out: Path) -> Comparison:
    """The comparison with the table by group, if lesions were counted and something is known of the images."""
    if not comparison.lesions or not attributes.names:
        return comparison
    return with_groups([comparison], attributes, DRAWS, SEED, out)[0]


def log_comparison(comparison: Comparison, out: Path, tracking: Tracking, only: str | None = None) -> Comparison:
    """Log the scores of the rows, or of those of one stage, and write and log the tables: crossval.txt, groups.csv."""
    stages = {row.title: row.result.stage if row.result else row.title for row in comparison.rows}
    rows: list[Row | LesionRow] = [*comparison.rows, *comparison.lesions]
    for row in rows:
        stage = stages[row.title]
        if only is not None and stage != only:
            continue
        tracking.log_metrics(row.scores, step=0, prefix=f"{stage}/")
        tracking.log_metrics({name: mean for name, (mean, _) in row.folds.items()}, 0, prefix=f"{stage}/fold_mean/")
        tracking.log_metrics({name: sd for name, (_, sd) in row.folds.items()}, 0, prefix=f"{stage}/fold_sd/")
    path = out / "crossval.txt"
    path.write_text(console(comparison) + "\n", encoding="utf-8")
    tracking.log_artifacts(path)
    tracking.log_artifacts(out / GROUPS)
    return comparison
