"""Ensemble finished cross-validations: per fold, average the networks or seeds that were trained without that fold.

    python -m scripts.ensemble CROSSVAL CROSSVAL… [--threshold_rule dice] [--out FOLDER]

A CROSSVAL is the folder of a finished `scripts.crossval`, or its name in outputs/crossval. All must have the same data
set and folds (--folds_file). The last stage is used unless another follows a colon: fcn-mine:fcn16. The subjects of
each fold are scored by the networks that were not trained on them. The table lists the members and the ensemble, as
does `python -m scripts.compare --crossval`. Repeating the command resumes. For an ensemble over folds, use
`evaluate.json --members` on a test section instead (docs/evaluation.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from scripts.commandline import run_app
from scripts.comparison import command_options as shared

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(help=__doc__)
def command(
    crossvals: Annotated[list[str], typer.Argument(metavar="CROSSVAL…", help="Folders or names; two or more.")],
    out: Annotated[Path | None, typer.Option(help="Folder. Default: outputs/crossval/ensemble-NAMES.")] = None,
    threshold_rule: shared.ThresholdRule = None,
    attributes: shared.Attributes = None,
    tracking_uri: shared.TrackingUri = None,
    experiment_name: shared.ExperimentName = "mammoseg",
    as_json: shared.AsJson = False,
) -> None:
    """Only the signature is used; the help is the module docstring."""
    from scripts.crossvalidation.fold_ensembles import ensemble_cross_validation  # seconds: MLflow, torch, MONAI

    with shared.resumed_by_repeating():
        comparison = ensemble_cross_validation(
            crossvals,
            threshold_rule,
            attributes=attributes,
            out=out,
            tracking_uri=tracking_uri,
            experiment_name=experiment_name,
        )
    shared.print_table(comparison, as_json)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 after a one-line error."""
    return run_app(app, "python -m scripts.ensemble", argv)


if __name__ == "__main__":
    raise SystemExit(main())
