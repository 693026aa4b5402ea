"""Options and output shared by the commands with a table of scores: compare, crossval, ensemble."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from scripts.comparison.table import Comparison

ThresholdRule = Annotated[
    str | None,
    typer.Option(
        "--threshold_rule",
        help="dice, mean_dice or 'fp<=1': choose each fold's operating point on the other folds.",
    ),
]
Attributes = Annotated[
    Path | None, typer.Option(help="CSV file with case or subject, and view, density, …, for scores by group.")
]
TrackingUri = Annotated[
    str | None, typer.Option("--tracking_uri", help="MLflow store or server. Default: as in trainings.")
]
ExperimentName = Annotated[
    str,
    typer.Option("--experiment_name", "--experiment", help="MLflow experiment.", envvar="MLFLOW_EXPERIMENT_NAME"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")]


@contextmanager
def resumed_by_repeating() -> Iterator[None]:
    """On Ctrl-C, print how to resume and exit with 130."""
    try:
        yield
    except KeyboardInterrupt:
        print("\nInterrupted. To resume, repeat the command.", file=sys.stderr)
        raise typer.Exit(130) from None


def print_table(comparison: Comparison, as_json: bool) -> None:
    """Print the rows as a table, or as JSON."""
    from rich.console import Console

    from scripts.comparison.console_table import console  # seconds: MLflow, torch, MONAI
    from scripts.comparison.table import records

    if as_json:
        print(json.dumps(records(comparison), indent=1))
    else:
        Console(highlight=False, soft_wrap=True).print(console(comparison), markup=False)
