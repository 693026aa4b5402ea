"""k-fold cross-validation of bundles: every subject is scored once, by a network trained without it.

    python -m scripts.crossval BUNDLE… [--folds 5] [--seeds 0,1,2] [--dataset_dir DATASET] [--out FOLDER] [any option]

The subjects of the data set's training and validation sections are dealt into folds by --fold_seed, or by --folds_file,
a CSV file with the columns subject and fold (a number, or test: in none); they are the same for all bundles and seeds.
Each fold is a training of its own (`OUT/fold-1`, …; of several bundles or seeds `OUT/BUNDLE-seed-SEED/fold-1`, …) and
an MLflow run below that of its cross-validation. --jobs trains several at once, --cluster as jobs of a cluster. The
same command again resumes: finished folds are skipped, an interrupted one continues. The table at the end is over all
subjects; with three seeds or more it says which bundle is better. --train_shares 0.25,0.5,1 repeats it with shares of
the subjects to train with, and ends with the learning curve. `python -m scripts.compare --crossval` makes the
page of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from scripts.commandline import run_app
from scripts.comparison import command_options as shared
from transforms.errors import UserError
from transforms.plain_text import one_line

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(help=__doc__, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def command(
    context: typer.Context,
    bundles: Annotated[list[str], typer.Argument(metavar="BUNDLE…", help="Names of folders in bundles/.")],
    folds: Annotated[int | None, typer.Option(help="Number of folds.", show_default="5")] = None,
    folds_file: Annotated[
        Path | None,
        typer.Option("--folds_file", "--split", help="CSV file with columns subject, fold. Default: random folds."),
    ] = None,
    test: Annotated[
        float, typer.Option(min=0, max=0.9, help="Fraction of the subjects kept out of all folds, for a final test.")
    ] = 0.0,
    dataset_dir: Annotated[
        Path | None, typer.Option("--dataset_dir", help="Dataset folder. Default: the synthetic sample.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the folds and trainings.")] = 0,
    seeds: Annotated[str | None, typer.Option(help="Seeds of the trainings: 0,1,2.", show_default="--seed")] = None,
    fold_seed: Annotated[
        int | None, typer.Option("--fold_seed", min=0, help="Random seed of the folds.", show_default="--seed")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Concurrent trainings.", show_default="1; on SLURM all")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Run trainings as jobs through submitit: slurm, or local (this machine).")
    ] = None,
    cluster_option: Annotated[
        list[str] | None,
        typer.Option("--cluster_option", help="KEY=VALUE of submitit, such as slurm_partition=gpu; may be repeated."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder. Default: in outputs/crossval.")] = None,
    tracking_uri: shared.TrackingUri = None,
    experiment_name: shared.ExperimentName = "mammoseg",
    threshold_rule: shared.ThresholdRule = None,
    attributes: shared.Attributes = None,
    train_shares: Annotated[
        str | None,
        typer.Option(
            "--train_shares", help="Learning curve: train with these shares of the subjects, such as 0.25,0.5,1."
        ),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Score of the learning curve.", show_default="as in scripts.compare")
    ] = None,
    figures: Annotated[
        list[str] | None, typer.Option(help="Learning curve also as svg or pdf; may be repeated.")
    ] = None,
    as_json: shared.AsJson = False,
) -> None:
    """Only its signature is used: the module's text is the help."""
    from scripts.crossvalidation.at_once import Place  # seconds: MLflow, torch, MONAI
    from scripts.crossvalidation.run import cross_validate

    names, options = _words([*bundles, *context.args])
    if cluster_option and cluster is None:
        raise UserError("--cluster_option: belongs to the jobs of a cluster; give --cluster with it")
    place = Place(jobs, cluster, dict(_pair(text) for text in cluster_option or ()))
    how: dict[str, Any] = {
        "folds": folds,
        "folds_file": folds_file,
        "dataset_dir": dataset_dir,
        "seeds": [seed] if seeds is None else _seeds(seeds),
        "fold_seed": seed if fold_seed is None else fold_seed,
        "threshold_rule": threshold_rule,
        "options": options,
        "place": place,
        "test": test,
        "attributes": attributes,
        "out": out,
        "tracking_uri": tracking_uri,
        "experiment_name": experiment_name,
    }
    if train_shares is not None:
        _learning_curve(names, train_shares, {**how, "metric": metric, "figures": figures or ()}, as_json)
        return
    if metric or figures:
        raise UserError("--metric and --figures: are of the learning curve; give --train_shares with them")
    with shared.resumed_by_repeating():
        comparison = cross_validate(names, **how)
    shared.print_table(comparison, as_json)


def _learning_curve(names: Sequence[str], shares: str, how: dict[str, Any], as_json: bool) -> None:
    """One network at several sizes of the training set."""
    from scripts.comparison.report import VECTORS
    from scripts.crossvalidation.learning_curve import checked_shares, curve_record, learning_curve, sentences

    if len(names) > 1 or len(how["seeds"]) > 1:
        raise UserError("--train_shares: takes one bundle and one seed; run it again for others")
    unknown = [name for name in how["figures"] if name not in VECTORS]
    if unknown:
        raise UserError(f"--figures {one_line(unknown[0])}: unknown; choose from {', '.join(VECTORS)}")
    with shared.resumed_by_repeating():
        curve = learning_curve(names[0], checked_shares(shares), **how)
    print(json.dumps(curve_record(curve), indent=1) if as_json else "\n".join(sentences(curve)))


def _words(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """The bundles, which come first, and the options of the trainings."""
    first = next((number for number, word in enumerate(given) if word.startswith("-")), len(given))
    names = list(given[:first])
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise UserError(f"{one_line(twice)}: given twice; name every bundle once")
    if not names:
        raise UserError(f"{one_line(given[0])}: expected a bundle first; name the bundles before the options")
    return names, list(given[first:])


def _seeds(text: str) -> list[int]:
    words = text.split(",")
    if not all(re.fullmatch("[0-9]{1,18}", word) for word in words) or len(set(map(int, words))) < len(words):
        raise UserError(f"--seeds {one_line(text)}: expected different integers from 0 on, such as 0,1,2")
    return [int(word) for word in words]


def _pair(text: str) -> tuple[str, str | int]:
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise UserError(f"--cluster_option {one_line(text)}: expected KEY=VALUE, such as slurm_partition=gpu")
    return key, int(value) if re.fullmatch("[0-9]{1,18}", value) else value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after a one-line error."""
    return run_app(app, "python -m scripts.crossval", argv)


if __name__ == "__main__":
    raise SystemExit(main())
