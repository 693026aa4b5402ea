"""Training steps and passes over whole images, in several ways of computing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from engines.base.memory_layout import placed
from engines.base.precision import precision_on
from engines.inference.inferers import PaddedInferer
from engines.inference.whole_image import WholeImageInferer
from engines.training.losses import WeightedCrossEntropy
from engines.training.plan import plan
from scripts.measuring.bundle_networks import network_of, recipe_of
from scripts.measuring.gpu_groups import Group
from scripts.measuring.rows import Row
from scripts.measuring.timing import measured
from transforms.crops import rows_and_columns

CLASSES, TINY = 5, 0.02


def step_rows(group: Group, wanted: Mapping[str, Mapping[str, Any]], device: torch.device, tiny: bool) -> Iterator[Row]:
    """Measure forward pass, loss, backward pass and update of the last stage, with the sizes of a recipe."""
    recipe = recipe_of(group.network, group.size)
    last = recipe["stages"][-1]
    (stage,) = plan([last], recipe["max_epochs"], recipe["crop_size"], recipe["learning_rate"])
    size, count = rows_and_columns(stage.crop_size), min(recipe["batch_size"], recipe["micro_batch_size"])
    if tiny:
        size, count = (48, 32), 2

    def make(options: Mapping[str, Any]) -> tuple[Callable[[], Any], int, str]:
        torch.manual_seed(0)
        network = network_of(group.network, TINY if tiny else recipe["width"], CLASSES, group.size)
        network = placed(network, device, bool(options.get("channels_last")))
        image = (torch.rand(count, 1, *size, device=device) - 0.5).repeat(1, 3, 1, 1)
        label = torch.randint(0, CLASSES, (count, 1, *size), dtype=torch.uint8, device=device)
        trained = [p for p in network.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, 1e-4, fused=device.type == "cuda")
        kind = precision_on(options.get("precision", "fp32"), device)
        inferer = PaddedInferer(kind, bool(options.get("checkpointing")), bool(options.get("compiled")))
        loss, scaler = WeightedCrossEntropy(), torch.amp.GradScaler(device.type, enabled=kind == "fp16")

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss(inferer(image, network), label)).backward()
            scaler.step(optimizer)
            scaler.update()

        return step, count, f"{count} x {size[0]} x {size[1]}"

    yield from measured(group, wanted, make, device, tiny)


def image_rows(
    group: Group, wanted: Mapping[str, Mapping[str, Any]], device: torch.device, tiny: bool
) -> Iterator[Row]:
    """Measure the logits of a whole image at full width, as in inference."""
    rows, columns = (64, 48) if tiny else map(int, group.size.split(" x "))

    def make(options: Mapping[str, Any]) -> tuple[Callable[[], Any], int, str]:
        torch.manual_seed(0)
        network = network_of(group.network, TINY if tiny else 1.0, CLASSES)
        network = placed(network, device, bool(options.get("channels_last"))).eval()
        image = (torch.rand(1, 1, rows, columns, device=device) - 0.5).repeat(1, 3, 1, 1)
        inferer = WholeImageInferer(precision=precision_on(options.get("precision", "fp32"), device))

        def segment() -> None:
            with torch.no_grad():
                inferer(image, network)

        return segment, 1, f"1 x {rows} x {columns}"

    yield from measured(group, wanted, make, device, tiny)
