"""k-fold cross-validation of bundles: every subject is scored once, by a network trained without it.

    python -m scripts.crossval BUNDLE… [--folds 5] [--seeds 0,1,2] [--dataset_dir DATASET] [--out FOLDER] [any option]

The subjects of the data set's training and validation sections are dealt into folds by --fold_seed, or by --folds_file,
a CSV file with the columns subject and fold (a number, or test: in none); they are the same for all bundles and seeds.
Each fold is a training of its own (`OUT/fold-1`, …; of several bundles or seeds `OUT/BUNDLE-seed-SEED/fold-1`, …) and
an MLflow run below that of its cross-validation. --jobs trains several at once, --cluster as jobs of a cluster. The
same command again resumes: finished folds are skipped, an interrupted one continues. The table at the end is over all
subjects; with three seeds or more it says which bundle is better. `python -m scripts.compare --crossval` makes the
page of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

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
    as_json: shared.AsJson = False,
) -> None:
    """Only its signature is used: the module's text is the help."""
    from scripts.crossvalidation.at_once import Place  # seconds: MLflow, torch, MONAI
    from scripts.crossvalidation.run import cross_validate

    names, options = _words([*bundles, *context.args])
    if cluster_option and cluster is None:
        raise UserError("--cluster_option: belongs to the jobs of a cluster; give --cluster with it")
    place = Place(jobs, cluster, dict(_pair(text) for text in cluster_option or ()))
    with shared.resumed_by_repeating():
        comparison = cross_validate(
            names,
            folds,
            folds_file,
            dataset_dir,
            [seed] if seeds is None else _seeds(seeds),
            seed if fold_seed is None else fold_seed,
            threshold_rule,
            options,
            place=place,
            test=test,
            attributes=attributes,
            out=out,
            tracking_uri=tracking_uri,
            experiment_name=experiment_name,
        )
    shared.print_table(comparison, as_json)


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
