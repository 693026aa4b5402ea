"""A training step in bf16 against one in fp32, on one device: what `--precision` gains.

Of every bundle the last stage, at the width and crop size of a recipe. Steps of both kinds take turns on the same
batch, so that other work on the machine meets both. A step is the forward pass, the loss, the backward pass and the
update.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from engines.base.network_file import all_rows
from engines.inference.inferers import PaddedInferer
from engines.training.losses import WeightedCrossEntropy
from engines.training.plan import plan
from scripts.measuring.bundle_networks import network_of, recipe_of
from scripts.measuring.timing import in_turns
from transforms.crops import rows_and_columns
from transforms.errors import UserError

RECIPE = "quick"


def precision(
    recipe: Annotated[str, typer.Option(help="whose width, crop and batch size")] = RECIPE,
    bundles: Annotated[str | None, typer.Option(help="names separated by commas; by default all")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    width: Annotated[float | None, typer.Option(help="in place of the recipe's")] = None,
    repeats: Annotated[int, typer.Option(min=1)] = 7,
    threads: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Time one training step of each network in fp32 and in bf16."""
    torch.set_num_threads(threads)
    table = Table("network", "width", "batch", "fp32 (s)", "bf16 (s)", "fp32 / bf16")
    known = all_rows()
    for bundle in known if bundles is None else (name.strip() for name in bundles.split(",")):
        if bundle not in known:
            raise UserError(f"--bundles {bundle}: unknown bundle; choose from {', '.join(known)}")
        steps = {kind: _step(bundle, recipe, kind, torch.device(device), width) for kind in ("fp32", "bf16")}
        seconds = in_turns({kind: run for kind, (run, _, _) in steps.items()}, repeats, torch.device(device))
        pairs = sorted(whole / half for whole, half in zip(seconds["fp32"], seconds["bf16"], strict=True))
        _, used_width, batch = steps["fp32"]
        table.add_row(
            bundle, f"{used_width:g}", batch,
            *(f"{statistics.median(seconds[kind]):.3f}" for kind in ("fp32", "bf16")),
            f"{statistics.median(pairs):.2f} ({pairs[0]:.2f} to {pairs[-1]:.2f})",
        )  # fmt: skip
    Console().print(table)


def _step(
    bundle: str, recipe_name: str, kind: str, device: torch.device, width: float | None
) -> tuple[Callable[[], None], float, str]:
    """A function that takes one step, the width of its network, and its batch in words."""
    recipe = recipe_of(bundle, recipe_name)
    used = recipe["width"] if width is None else width
    torch.manual_seed(0)
    network = network_of(bundle, used, 2).to(device)
    (stage,) = plan([recipe["stages"][-1]], recipe["max_epochs"], recipe["crop_size"], recipe["learning_rate"])
    size, count = rows_and_columns(stage.crop_size), min(recipe["batch_size"], recipe["micro_batch_size"])
    image = torch.rand(count, 1, *size, device=device).expand(-1, 3, -1, -1) - 0.5
    label = torch.randint(0, 2, (count, 1, *size), dtype=torch.uint8, device=device)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], stage.learning_rate)
    loss, inferer = WeightedCrossEntropy(), PaddedInferer(kind)

    def run() -> None:
        optimizer.zero_grad()
        loss(inferer(image, network), label).backward()
        optimizer.step()

    return run, used, f"{count} x {size[0]} x {size[1]}"
