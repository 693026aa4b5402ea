"""k-fold cross-validation of a bundle: every subject is validated on once, by a network that never saw it.

    python -m scripts.crossval BUNDLE [--folds 5] [--dataset_dir DATASET] [--seed 0] [--out FOLDER] [any option of it]

The subjects of the data set's training and validation sections are dealt into folds, by subject and by the seed. Each
fold is a training of its own (`OUT/fold-1`, …) and an MLflow run below that of the cross-validation. The same command
again goes on: finished folds are skipped, an interrupted one is resumed. The table at the end is over all subjects;
`python -m scripts.compare --crossval` lays those of several bundles side by side.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from engines.base.paths import project_root
from engines.records.mlflow_run import Tracking
from engines.records.mlflow_store import disable_telemetry
from engines.runs.owned_run import tracked
from engines.scoring.operating_point import rule_rate
from scripts.commandline import run_app
from scripts.comparison.statistics import DRAWS, SEED
from scripts.comparison.table import Comparison, compare, console, records
from scripts.crossvalidation.fold_table import results
from scripts.crossvalidation.process import run_training, terminable
from scripts.crossvalidation.state import Plan, begin, fold_folder, is_finished, save, set_finished, training_command
from scripts.crossvalidation.views import fold_views, write_view
from scripts.sample import ensure_sample
from transforms.dataset import Dataset
from transforms.errors import UserError

OURS = ("--output_dir", "--resume", "--tags", "--run_name", "--config_file")
"""Options of a training that a fold is given by this command."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(help=__doc__, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def command(
    context: typer.Context,
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Name of a folder in bundles/.")],
    folds: Annotated[int, typer.Option(help="Number of folds.")] = 5,
    dataset_dir: Annotated[
        Path | None, typer.Option("--dataset_dir", help="Dataset folder. Default: the synthetic sample.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the folds and of every training.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder. Default: outputs/crossval/BUNDLE-DATASET.")] = None,
    tracking_uri: Annotated[str | None, typer.Option("--tracking_uri", help="MLflow store or server.")] = None,
    experiment_name: Annotated[str, typer.Option("--experiment_name", help="MLflow experiment.")] = "mammoseg",
    threshold_rule: Annotated[
        str | None,
        typer.Option(
            "--threshold_rule",
            help="dice, mean_dice or 'fp<=1': each fold's operating point is chosen on the others, out of fold.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON at the end.")] = False,
) -> None:
    """Only its signature is used: the module's text is the help."""
    disable_telemetry()
    config = _config(bundle)
    if threshold_rule is not None:
        rule_rate(threshold_rule)
    data = Dataset.load(dataset_dir or ensure_sample(project_root() / "data" / "sample"))
    views = fold_views(data, folds, seed)
    options = [*_checked(context.args), "--experiment_name", experiment_name]
    options += ["--tracking_uri", tracking_uri] if tracking_uri else []
    plan = Plan(bundle, folds, seed, data.digest, tuple(options))
    out = (out or project_root() / "outputs" / "crossval" / f"{bundle}-{data.root.name}").resolve()
    run_id = begin(out, plan)
    params = {"bundle": bundle, "folds": folds, "seed": seed, "dataset": data.name, "dataset_digest": data.digest}
    tracking = Tracking(experiment_name, f"{bundle}, {folds} folds", tracking_uri, params, tags={"kind": "crossval"})
    try:
        with terminable(), tracked(tracking):
            tracking.start(run_id)
            save(out, plan, tracking.run_id)
            for number, view in enumerate(views, start=1):
                write_view(view, fold_folder(out, number) / "dataset")
                _train(plan, config, out, number, tracking)
            comparison = _summary(out, plan, tracking, threshold_rule)
    except KeyboardInterrupt:
        print("\nInterrupted. To go on: the same command again", file=sys.stderr)
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps(records(comparison), indent=1))
    else:
        Console(highlight=False, soft_wrap=True).print(console(comparison), markup=False)


def _config(bundle: str) -> Path:
    folder = project_root() / "bundles"
    config = folder / bundle / "configs" / "train.json"
    if not config.is_file():
        names = sorted(path.parent.parent.name for path in folder.glob("*/configs/train.json"))
        raise UserError(f"{bundle}: no such bundle; there are {', '.join(names)}")
    return config


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


def _summary(out: Path, plan: Plan, tracking: Tracking, rule: str | None) -> Comparison:
    """All subjects of all folds, each scored by the network that did not train with it."""
    comparison = compare(results(out, plan, rule), DRAWS, SEED)
    stages = {row.title: row.result.stage if row.result else row.title for row in comparison.rows}
    for row in (*comparison.rows, *comparison.lesions):
        stage = stages[row.title]
        tracking.log_metrics(row.scores, step=0, prefix=f"{stage}/")
        tracking.log_metrics({name: mean for name, (mean, _) in row.folds.items()}, 0, prefix=f"{stage}/fold_mean/")
        tracking.log_metrics({name: sd for name, (_, sd) in row.folds.items()}, 0, prefix=f"{stage}/fold_sd/")
    path = out / "crossval.txt"
    path.write_text(console(comparison) + "\n", encoding="utf-8")
    tracking.log_artifacts(path)
    return comparison


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after a one-line error."""
    return run_app(app, "python -m scripts.crossval", argv)


if __name__ == "__main__":
    raise SystemExit(main())
