"""How long all networks, folds and seeds take on one device, from some minutes of trainings that share it.

    python -m scripts.benchmark evidence [--minutes 8] [--at-once 8] [--recipe tissue] [--folds 5] [--seeds 3]

Processes train epochs of all stages of the four networks on drawn images, as many and as large as the 60 mammograms of
docs/results.md, stages drawn as often as a training has epochs of them. What they do after all of them are warm is
counted, for `--minutes`; the sum over all trainings is extrapolated from it. Starts, tracking and the tables and
pictures at a training's end are not in it. Needs torch, NumPy, SciPy, MONAI and ignite alone.
"""

from __future__ import annotations

from typing import Annotated

import typer

from scripts.measuring.evidence_run import run_evidence


def evidence(
    minutes: Annotated[float, typer.Option(min=0.01, help="Counted, after the warm-up.")] = 8.0,
    at_once: Annotated[int, typer.Option(min=1, help="Trainings that share the device.")] = 8,
    recipe: Annotated[str, typer.Option(help="Recipe of all networks.")] = "tissue",
    folds: Annotated[int, typer.Option(min=1)] = 5,
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    device: Annotated[str, typer.Option(help="cuda or cpu. Default: a GPU if there is one.")] = "",
    tiny: Annotated[bool, typer.Option("--tiny", help="Sizes of a test: no figures to quote.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Extrapolate the time of 4 networks x folds x seeds on this device."""
    run_evidence(minutes, at_once, recipe, folds, seeds, device, tiny, as_json)
