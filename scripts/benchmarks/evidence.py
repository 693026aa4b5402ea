"""Training time of all networks, folds and seeds on one device, extrapolated from minutes of concurrent trainings.

    python -m scripts.benchmark evidence [--minutes 8] [--at-once 8] [--recipe tissue] [--folds 5] [--seeds 3]
        [--out evidence.jsonl]

Processes train epochs of all stages of the four networks on synthetic images, equal in number and size to the 60
mammograms of docs/results.md. Stages are drawn in proportion to their number of epochs. Epochs are counted for
`--minutes` after all processes are warm, and extrapolated to all trainings. The estimate excludes starts, tracking,
and the tables and pictures at the end of a training. Needs only torch, NumPy, SciPy, MONAI and ignite.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.measuring.evidence_run import run_evidence


def evidence(
    minutes: Annotated[float, typer.Option(min=0.01, help="Minutes counted after the warm-up.")] = 8.0,
    at_once: Annotated[int, typer.Option(min=1, help="Concurrent trainings on the device.")] = 8,
    recipe: Annotated[str, typer.Option(help="Recipe of all networks.")] = "tissue",
    folds: Annotated[int, typer.Option(min=1)] = 5,
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    device: Annotated[str, typer.Option(help="cuda or cpu. Default: a GPU if available.")] = "",
    tiny: Annotated[bool, typer.Option("--tiny", help="Sizes for tests; figures are meaningless.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    out: Annotated[Path, typer.Option(help="File of the epochs, one JSON object per line.")] = Path("evidence.jsonl"),
) -> None:
    """Extrapolate the time of 4 networks x folds x seeds on this device.

    Each epoch is written as soon as it is counted. The next call adds its minutes to those in the file for this device,
    version of torch, recipe and number of trainings.
    """
    run_evidence(minutes, at_once, recipe, folds, seeds, device, tiny, as_json, out)
