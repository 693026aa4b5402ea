"""k-fold cross-validation of a bundle: every subject is validated on once, by a network that never saw it.

    python -m scripts.crossval BUNDLE [--folds 5] [--dataset_dir DATASET] [--seed 0] [--out FOLDER] [any option of it]

The subjects of the data set's training and validation sections are dealt into folds by the seed, or by --folds_file,
a CSV file with the columns subject and fold. Each fold is a training of its own (`OUT/fold-1`, …) and an MLflow run
below that of the cross-validation. The same command again resumes: finished folds are skipped, an interrupted one
continues. The table at the end is over all subjects; `python -m scripts.compare --crossval` lays those of several
bundles side by side.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from scripts.commandline import run_app

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(help=__doc__, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def command(
    context: typer.Context,
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Name of a folder in bundles/.")],
    folds: Annotated[int | None, typer.Option(help="Number of folds.", show_default="5")] = None,
    folds_file: Annotated[
        Path | None, typer.Option("--folds_file", help="CSV file: subject,fold. Default: the seed deals the folds.")
    ] = None,
    dataset_dir: Annotated[
        Path | None, typer.Option("--dataset_dir", help="Dataset folder. Default: the synthetic sample.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the folds and of every training.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder. Default: outputs/crossval/BUNDLE-DATASET.")] = None,
    tracking_uri: Annotated[str | None, typer.Option("--tracking_uri", help="MLflow store or server.")] = None,
    experiment_name: Annotated[
        str, typer.Option("--experiment_name", help="MLflow experiment.", envvar="MLFLOW_EXPERIMENT_NAME")
    ] = "mammoseg",
    threshold_rule: Annotated[
        str | None,
        typer.Option(
            "--threshold_rule",
            help="dice, mean_dice or 'fp<=1': each fold's operating point is chosen on the others, out of fold.",
        ),
    ] = None,
    attributes: Annotated[
        Path | None, typer.Option(help="CSV file: case or subject, and view, density, …: scores by group.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON at the end.")] = False,
) -> None:
    """Only its signature is used: the module's text is the help."""
    from rich.console import Console

    from scripts.comparison.table import console, records  # seconds: MLflow, torch, MONAI
    from scripts.crossvalidation.run import cross_validate

    try:
        comparison = cross_validate(
            bundle,
            folds,
            folds_file,
            dataset_dir,
            seed,
            threshold_rule,
            context.args,
            attributes=attributes,
            out=out,
            tracking_uri=tracking_uri,
            experiment_name=experiment_name,
        )
    except KeyboardInterrupt:
        print("\nInterrupted. To go on: the same command again", file=sys.stderr)
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps(records(comparison), indent=1))
    else:
        Console(highlight=False, soft_wrap=True).print(console(comparison), markup=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after a one-line error."""
    return run_app(app, "python -m scripts.crossval", argv)


if __name__ == "__main__":
    raise SystemExit(main())
