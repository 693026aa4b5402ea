"""Run of one training per fold, bundle and seed, and table over all subjects."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from engines.base.command_values import quoted
from engines.base.paths import bundle_folder, bundle_folders, project_root
from engines.records.attributes import Attributes, check_known, dataset_attributes, read_attributes
from engines.records.mlflow_run import Tracking
from engines.records.mlflow_store import disable_telemetry
from engines.records.tables import write_text
from engines.runs.owned_run import own, tracked
from engines.scoring.draws import DRAWS, SEED
from engines.scoring.groups import SIZE
from engines.scoring.operating_point import rule_rate
from scripts.comparison.choice import SHARE_TAG
from scripts.comparison.console_table import console
from scripts.comparison.group_table import FILE as GROUPS
from scripts.comparison.group_table import TESTS, with_groups
from scripts.comparison.lesion_table import LesionRow
from scripts.comparison.store import Result
from scripts.comparison.table import Comparison, Row, compare
from scripts.crossvalidation.at_once import Place, run_all
from scripts.crossvalidation.fold_table import results
from scripts.crossvalidation.folds import FOLDS, TRAINED, Folds, digest_of, read_folds, trained_subjects, write_folds
from scripts.crossvalidation.logged_again import log_finished
from scripts.crossvalidation.process import terminable
from scripts.crossvalidation.state import Plan, begin, fold_folder, is_finished, save, set_finished, training_command
from scripts.crossvalidation.views import Views, fold_views, write_view
from scripts.importers.writing.split import folds_of, held_out_groups
from scripts.sample import ensure_sample
from transforms.dataset import Dataset
from transforms.errors import UserError
from transforms.plain_text import one_line

OURS = ("--output_dir", "--resume", "--tags", "--run_name", "--config_file")
"""Options that this command sets for the training of each fold."""
TABLE = "crossval.txt"


@dataclass(frozen=True)
class Cross:
    """One cross-validation: a bundle and a seed.

    Attributes:
        label: suffix of the fold number in messages; empty for a single cross-validation.
    """

    plan: Plan
    config: Path
    out: Path
    tracking: Tracking
    label: str

    def say(self, number: int, words: str) -> None:
        """Print a message about a fold."""
        text = f"Fold {number} of {self.plan.folds}{self.label}: {words}"
        Console(stderr=True, highlight=False).print(text, soft_wrap=True, markup=False)


def cross_validate(
    bundles: Sequence[str],
    folds: int | None,
    folds_file: Path | None,
    dataset_dir: Path | None,
    seeds: Sequence[int],
    fold_seed: int,
    threshold_rule: str | None,
    options: Sequence[str],
    *,
    test: float = 0.0,
    train_share: float | None = None,
    attributes: Path | None = None,
    out: Path | None,
    tracking_uri: str | None,
    experiment_name: str,
    place: Place | None = None,
) -> Comparison:
    """Train all unfinished folds of all bundles and seeds, and compare over all subjects.

    Args:
        folds: number of folds; default `FOLDS` without a file.
        folds_file: assignment of subjects to folds, see `read_folds`.
        test: fraction of the subjects that are in no fold, but in the test section of every fold's data set.
        train_share: fraction of the subjects of the other folds to train on, see `fold_views`; None for all.
        attributes: table of attributes to group images by, see `read_attributes`.
        seeds: training seeds; all have the same folds.
        fold_seed: seed for drawing the folds.
        options: options of the trainings, as on their command line.
        out: folder of the cross-validation, or parent folder of several.
        place: where trainings run, and how many at once.

    Raises:
        UserError: an option is invalid, `out` holds another cross-validation, or a fold failed.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the trainings have ended.
    """
    disable_telemetry()
    configs = {bundle: _config(bundle) for bundle in bundles}
    if threshold_rule is not None:
        rule_rate(threshold_rule)
    data = Dataset.load(dataset_dir or ensure_sample(project_root() / "data" / "sample"))
    grouping = image_attributes(data, attributes)
    dealt, folds_digest = _folds(data, folds, folds_file, fold_seed, test)
    views = fold_views(data, dealt, fold_seed, 1.0 if train_share is None else train_share)
    options = [*_checked(options), "--experiment_name", quoted(experiment_name)]
    options += ["--tracking_uri", quoted(tracking_uri)] if tracking_uri else []
    several = len(bundles) * len(seeds) > 1
    name = data.root.name if several else f"{bundles[0]}-{data.root.name}"
    folder = (out or project_root() / "outputs" / "crossval" / name).resolve()
    crosses = []
    for bundle, seed in itertools.product(bundles, seeds):
        own_seed = None if folds_digest is not None or fold_seed == seed else fold_seed
        plan = Plan(bundle, len(dealt), seed, data.digest, tuple(options), folds_digest, own_seed, train_share)
        params = {"bundle": bundle, "folds": plan.folds, "seed": seed, "fold_seed": fold_seed}
        params |= {"dataset": data.name, "dataset_digest": data.digest, "folds_digest": digest_of(dealt)}
        name = f"{bundle}, {plan.folds} folds" + (f", seed {seed}" if several else "")
        if train_share is not None:
            name += f", {100 * train_share:g} % of the subjects"
        tracking = Tracking(experiment_name, name, tracking_uri, params, tags={"kind": "crossval"})
        tracking.source = "scripts/crossval.py"
        label = f" of {bundle}, seed {seed}" if several else ""
        own_folder = folder / f"{bundle}-seed-{seed}" if several else folder
        crosses.append(Cross(plan, configs[bundle], own_folder, tracking, label))
    with terminable(), ExitStack() as stack:
        for cross in crosses:
            _start(cross, stack, dealt, views)
        tasks = [(cross, number) for number in range(1, len(dealt) + 1) for cross in crosses]
        _train(tasks, place or Place())
        each = [_summary(cross, threshold_rule, grouping) for cross in crosses]
    return _together(crosses, threshold_rule, grouping, folder) if several else each[0]


def _start(cross: Cross, stack: ExitStack, dealt: Folds, views: Views) -> None:
    """Begin or resume: set up folder, MLflow run and data sets of the folds, and log finished folds missing there."""
    run_id = begin(cross.out, cross.plan)
    stack.enter_context(own(cross.out, cross.tracking, task="cross-validation", option="--out"))
    stack.enter_context(tracked(cross.tracking, run_id))
    save(cross.out, cross.plan, cross.tracking.run_id)
    cross.tracking.log_artifacts(write_folds(dealt, cross.out / "folds.csv"))
    for number, view in enumerate(views, start=1):
        write_view(view, fold_folder(cross.out, number) / "dataset")
    log_finished(cross.out, cross.plan, cross.tracking, partial(_tags, cross), cross.say)


def _config(bundle: str) -> Path:
    config = bundle_folder(bundle) / "configs" / "train.json"
    if not config.is_file():
        names = sorted(p.parents[1].name for folder in bundle_folders() for p in folder.glob("*/configs/train.json"))
        raise UserError(f"{bundle}: unknown bundle; choose from {', '.join(names)}")
    return config


def _folds(
    data: Dataset, count: int | None, path: Path | None, seed: int, test: float = 0.0
) -> tuple[Folds, str | None]:
    """Return the folds, and their digest if given by a file or if some subjects are in no fold."""
    subjects = trained_subjects(data)
    if path is None:
        held = held_out_groups(subjects, test, seed)
        folds = folds_of([s for s in subjects if s not in held], FOLDS if count is None else count, seed)
        return folds, digest_of(folds) if held else None
    if test:
        raise UserError(f"--test {test:g}: {one_line(path)} sets the test subjects (fold: test); omit --test")
    folds = read_folds(path, subjects)
    if count not in (None, len(folds)):
        raise UserError(f"--folds {count}: {one_line(path)} has {len(folds)} folds; omit --folds")
    return folds, digest_of(folds)


def _checked(options: Sequence[str]) -> list[str]:
    given = [word.partition("=")[0] for word in options]
    taken = [name for name in OURS if name in given]
    if taken:
        raise UserError(f"{taken[0]}: set for each fold by this command; omit it")
    return list(options)


def _train(tasks: Sequence[tuple[Cross, int]], place: Place) -> None:
    """Train unfinished folds in separate processes; an error is only reported after all running ones have ended."""
    left = []
    for cross, number in tasks:
        if is_finished(cross.out, number):
            cross.say(number, "finished earlier.")
        else:
            left.append((cross, number))

    def start(index: int) -> list[str]:
        cross, number = left[index]
        cross.say(number, str(fold_folder(cross.out, number)))
        return training_command([sys.executable], cross.plan, cross.config, cross.out, number, _tags(cross, number))

    def end(index: int, code: int) -> None:
        cross, number = left[index]
        if code == 0:
            set_finished(cross.out, number, _tags(cross, number))

    failed = run_all(len(left), start, end, place)
    if failed is not None:
        cross, number = left[failed[0]]
        raise UserError(
            f"fold {number} of {cross.plan.folds}{cross.label} ended with code {failed[1]}, see above; repeat "
            "the command to resume"
        )


def _tags(cross: Cross, number: int) -> dict[str, str]:
    """Return the tags of the MLflow run of a fold's training."""
    tracking = cross.tracking
    tags = {"fold": str(number), "folds": str(cross.plan.folds), "crossval_name": tracking.run_name}
    if tracking.run_id is not None:
        tags |= {"crossval": tracking.run_id, "mlflow.parentRunId": tracking.run_id}
    if cross.plan.train_share is not None:
        tags[SHARE_TAG] = f"{cross.plan.train_share:g}"
    return tags


def image_attributes(data: Dataset, path: Path | None) -> Attributes:
    """Return the image attributes of dataset.json, overridden by those of a table.

    Raises:
        UserError: the table cannot be read, or is of other images.
    """
    known = dataset_attributes(data)
    if path is None:
        return known
    given = read_attributes(path)
    images = ((item["subject"], Path(item["image"]).stem) for name in TRAINED for item in data.content[name])
    check_known(given, images, data.name)
    return given.over(known)


def _summary(cross: Cross, rule: str | None, grouping: Attributes) -> Comparison:
    """Summarize all subjects of all folds, each scored by the network trained without it."""
    comparison = compare(results(cross.out, cross.plan, rule), DRAWS, SEED)
    return log_comparison(by_group(comparison, grouping, cross.out), cross.out, cross.tracking)


def _together(crosses: Sequence[Cross], rule: str | None, grouping: Attributes, folder: Path) -> Comparison:
    """Compare all bundles, each with all its seeds, in one table, also written as crossval.txt."""
    rows: dict[tuple[str, str], list[Result]] = {}
    for cross in crosses:
        for result in results(cross.out, cross.plan, rule):
            rows.setdefault((cross.plan.bundle, result.stage), []).append(result)
    means = [replace(first, seeds=tuple(others)) for first, *others in rows.values()]
    comparison = by_group(compare(means, DRAWS, SEED), grouping, folder)
    write_text(folder / TABLE, console(comparison) + "\n")
    return comparison


def by_group(comparison: Comparison, attributes: Attributes, out: Path) -> Comparison:
    """Add the table by group to the comparison, if lesions were counted and images have attributes."""
    if not comparison.lesions or not attributes.names:
        return comparison
    return with_groups([comparison], attributes.only((*attributes.names, SIZE)), DRAWS, SEED, out)[0]


def log_comparison(comparison: Comparison, out: Path, tracking: Tracking, only: str | None = None) -> Comparison:
    """Log the scores of all rows, or of one stage; write crossval.txt, and log it and the tables by group."""
    stages = {row.title: row.result.stage if row.result else row.title for row in comparison.rows}
    rows: list[Row | LesionRow] = [*comparison.rows, *comparison.lesions]
    for row in rows:
        stage = stages[row.title]
        if only is not None and stage != only:
            continue
        tracking.log_metrics(row.scores, step=0, prefix=f"{stage}/")
        tracking.log_metrics({name: mean for name, (mean, _) in row.folds.items()}, 0, prefix=f"{stage}/fold_mean/")
        tracking.log_metrics({name: sd for name, (_, sd) in row.folds.items()}, 0, prefix=f"{stage}/fold_sd/")
    path = out / TABLE
    path.write_text(console(comparison) + "\n", encoding="utf-8")
    tracking.log_artifacts(path)
    for name in (GROUPS, TESTS):
        tracking.log_artifacts(out / name)
    return comparison
