"""The ensemble of finished cross-validations: in each fold, the mean of networks or seeds that were trained without it.

    python -m scripts.ensemble CROSSVAL CROSSVAL… [--threshold_rule dice] [--out FOLDER]

A CROSSVAL is the folder of a finished `scripts.crossval`, or its name in outputs/crossval; all need the same data set
and folds (--folds_file). The last stage of each is taken, or that after a colon: fcn-mine:fcn16. Each fold's subjects
are scored by the networks that did not train with them. The table has the members and the ensemble, and so has
`python -m scripts.compare --crossval`. The same command again resumes. An ensemble over folds is another thing:
`evaluate.json --members` on a test section (docs/evaluation.md).
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


@app.command(help=__doc__)
def command(
    crossvals: Annotated[list[str], typer.Argument(metavar="CROSSVAL…", help="Folders or names; two or more.")],
    out: Annotated[Path | None, typer.Option(help="Folder. Default: outputs/crossval/ensemble-NAMES.")] = None,
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
    tracking_uri: Annotated[str | None, typer.Option("--tracking_uri", help="MLflow store or server.")] = None,
    experiment_name: Annotated[str, typer.Option("--experiment_name", help="MLflow experiment.")] = "mammoseg",
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON at the end.")] = False,
) -> None:
    """Only its signature is used: the module's text is the help."""
    from rich.console import Console

    from scripts.comparison.table import console, records  # seconds: MLflow, torch, MONAI
    from scripts.crossvalidation.fold_ensembles import ensemble_cross_validation

    try:
        comparison = ensemble_cross_validation(
            crossvals,
            threshold_rule,
            attributes=attributes,
            out=out,
            tracking_uri=tracking_uri,
            experiment_name=experiment_name,
        )
    except KeyboardInterrupt:
        print("\nInterrupted. To resume: the same command again", file=sys.stderr)
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps(records(comparison), indent=1))
    else:
        Console(highlight=False, soft_wrap=True).print(console(comparison), markup=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after a one-line error."""
    return run_app(app, "python -m scripts.ensemble", argv)


if __name__ == "__main__":
    raise SystemExit(main())
