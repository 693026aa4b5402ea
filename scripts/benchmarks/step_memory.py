"""Memory of a training step of each `paper` recipe, as counted by `engines.training.step_memory`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from engines.base.network_file import all_rows
from engines.inference.inferers import PaddedInferer
from engines.training.plan import plan, set_stage
from engines.training.step_memory import step_memory as counted_step
from scripts.measuring.bundle_networks import network_of, recipe_of
from transforms.crops import rows_and_columns
from transforms.errors import UserError

WAYS = {
    "fp32": PaddedInferer(),
    "bf16": PaddedInferer("bf16"),
    "fp32, checkpointing": PaddedInferer("fp32", checkpointing=True),
    "bf16, checkpointing": PaddedInferer("bf16", checkpointing=True),
}


def step_memory(
    bundles: Annotated[str | None, typer.Option(help="Comma-separated names. Default: all.")] = None,
    recipe: Annotated[str, typer.Option(help="Recipe for width and crops.")] = "paper",
    classes: Annotated[int, typer.Option(min=2)] = 13,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Count the memory of a step with one crop, including weights and optimizer state, in GB (10**9 bytes)."""
    known = all_rows()
    names = list(known) if bundles is None else [name.strip() for name in bundles.split(",")]
    if unknown := set(names) - set(known):
        raise UserError(f"--bundles {', '.join(sorted(unknown))}: unknown bundle; choose from {', '.join(known)}")
    lines = [line for name in names for line in _stages(name, recipe, classes)]
    if as_json:
        print(json.dumps(lines))
        return
    table = Table("network", "stage", "crop", *WAYS)
    for line in lines:
        table.add_row(*(f"{cell:.1f}" if isinstance(cell, float) else cell for cell in line.values()))
    Console().print(table)


def _stages(name: str, recipe_name: str, classes: int) -> Iterator[dict[str, str | float]]:
    recipe = recipe_of(name, recipe_name)
    network = network_of(name, recipe["width"], classes, recipe_name)
    for stage in plan(recipe["stages"], recipe["max_epochs"], recipe["crop_size"], recipe["learning_rate"]):
        set_stage(network, stage.name)
        size = rows_and_columns(stage.crop_size)
        counted = {way: counted_step(network, size, inferer).of(1) / 1e9 for way, inferer in WAYS.items()}
        yield {"network": name, "stage": stage.name, "crop": " x ".join(map(str, size)), **counted}
