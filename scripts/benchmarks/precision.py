"""Training step in bf16 against one in fp32 on one device: the gain from `--precision`.

Measures the last stage of every bundle, at the width and crop size of a recipe. Steps of both kinds take turns on the
same batch, so that other load affects both. A step is forward pass, loss, backward pass and update.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
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
    recipe: Annotated[str, typer.Option(help="Recipe for width, crop and batch size.")] = RECIPE,
    bundles: Annotated[str | None, typer.Option(help="Comma-separated names. Default: all.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    width: Annotated[float | None, typer.Option(help="Overrides the recipe.")] = None,
    repeats: Annotated[int, typer.Option(min=1)] = 7,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time one training step of each network in fp32 and in bf16."""
    torch.set_num_threads(threads)
    known, found = all_rows(), []
    for bundle in known if bundles is None else (name.strip() for name in bundles.split(",")):
        if bundle not in known:
            raise UserError(f"--bundles {bundle}: unknown bundle; choose from {', '.join(known)}")
        found.append(_steps(bundle, recipe, torch.device(device), width, repeats))
    if as_json:
        print(json.dumps([asdict(each) for each in found]))
        return
    table = Table("network", "width", "batch", "fp32 (s)", "bf16 (s)", "fp32 / bf16")
    for each in found:
        ratio = f"{statistics.median(each.ratios):.2f} ({min(each.ratios):.2f} to {max(each.ratios):.2f})"
        table.add_row(each.bundle, f"{each.width:g}", each.batch, f"{each.fp32:.3f}", f"{each.bf16:.3f}", ratio)
    Console().print(table)


@dataclass(frozen=True)
class Steps:
    """Median seconds of a step in fp32 and in bf16, and their ratio in each turn."""

    bundle: str
    width: float
    batch: str
    fp32: float
    bf16: float
    ratios: list[float]


def _steps(bundle: str, recipe: str, device: torch.device, width: float | None, repeats: int) -> Steps:
    steps = {kind: _step(bundle, recipe, kind, device, width) for kind in ("fp32", "bf16")}
    seconds = in_turns({kind: run for kind, (run, _, _) in steps.items()}, repeats, device)
    ratios = [whole / half for whole, half in zip(seconds["fp32"], seconds["bf16"], strict=True)]
    _, used_width, batch = steps["fp32"]
    fp32, bf16 = (statistics.median(seconds[kind]) for kind in ("fp32", "bf16"))
    return Steps(bundle, used_width, batch, fp32, bf16, ratios)


def _step(
    bundle: str, recipe_name: str, kind: str, device: torch.device, width: float | None
) -> tuple[Callable[[], None], float, str]:
    """Return a function that runs one step, the width of its network, and the batch as text."""
    recipe = recipe_of(bundle, recipe_name)
    used = recipe["width"] if width is None else width
    torch.manual_seed(0)
    network = network_of(bundle, used, 2, recipe_name).to(device)
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
