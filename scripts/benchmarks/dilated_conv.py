"""`nets.DilatedConv2d` against `torch.nn.Conv2d`: seconds per training step or prediction, in the same process.

    python -m scripts.benchmark dilated-conv [--maps 8,16,32,64] [--reference-up-to 16] [--predict] [--json]
    python -m scripts.benchmark dilated-conv --maps 175 --reference-up-to 175 --device cuda --precision bf16

The default settings take about five minutes on two cores, nearly all in the gradient of `nn.Conv2d`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from engines.base.precision import autocast, precision_on
from nets.dilated_conv import DilatedConv2d
from scripts.measuring.timing import device_of
from scripts.measuring.whole_numbers import whole_numbers


@dataclass(frozen=True)
class Timing:
    """Seconds of one pass, forward and backward or forward only, on a map of `size` x `size`.

    The difference is relative to the largest value. `reference` is None if it was not run.
    """

    size: int
    ours: float
    reference: float | None
    ratio: float | None
    difference: float | None


def time_step(layer: nn.Module, x: Tensor, repeats: int, precision: str = "fp32") -> tuple[float, list[Tensor]]:
    """Return the shortest time of `repeats` forward and backward passes, and output and gradients.

    Only forward passes are run if `x` needs no gradient.
    """
    shortest = float("inf")
    for _ in range(repeats):
        x.grad = None
        layer.zero_grad()
        start = time.perf_counter()
        with torch.set_grad_enabled(x.requires_grad), autocast(precision, x.device):
            y = layer(x)
        if x.requires_grad:
            y.backward(torch.ones_like(y))
        if x.device.type == "cuda":
            torch.cuda.synchronize(x.device)
        shortest = min(shortest, time.perf_counter() - start)
    gradients = [p.grad for p in (x, *layer.parameters()) if p.grad is not None]
    return shortest, [y.detach(), *gradients]


def difference(ours: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
    """Return the largest difference of any output or gradient, relative to the largest value of that tensor."""
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, reference, strict=True))


def compare_sizes(
    sizes: Sequence[int],
    layers: Callable[[], tuple[nn.Conv2d, DilatedConv2d]],
    batch: int,
    repeats: int,
    limit: int,
    gradients: bool = True,
    device: str = "cpu",
    precision: str = "fp32",
) -> list[Timing]:
    """Time both layers on each size, the reference only on sizes up to `limit`."""
    reference, ours = (layer.to(device) for layer in layers())
    time_step(DilatedConv2d(8, 8, 3, padding=1), torch.randn(1, 8, 8, 8, requires_grad=True), 1)  # starts the threads
    timings = []
    for size in track(sizes, "maps", console=Console(stderr=True)):
        x = torch.randn(batch, ours.in_channels, size, size, device=device, requires_grad=gradients)
        seconds, results = time_step(ours, x, repeats, precision)
        if size > limit:
            timings.append(Timing(size, seconds, None, None, None))
            continue
        slow, expected = time_step(reference, x, repeats, precision)
        timings.append(Timing(size, seconds, slow, slow / seconds, difference(results, expected)))
    return timings


def dilated_conv(
    maps: Annotated[str, typer.Option(help="Comma-separated sides of the maps.")] = "8,16,32,64",
    reference_up_to: Annotated[int, typer.Option(help="Largest map for nn.Conv2d; 32 takes many minutes.")] = 16,
    in_channels: int = 512,
    out_channels: int = 4096,
    kernel: int = 7,
    dilation: int = 4,
    batch: int = 1,
    repeats: int = 1,
    predict: Annotated[bool, typer.Option("--predict", help="Forward pass only, without gradients.")] = False,
    threads: Annotated[int, typer.Option(help="Torch threads; 0: as configured.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda; there, the first repeat is slower.")] = "cpu",
    precision: Annotated[str, typer.Option(help="fp32, bf16 or fp16.")] = "fp32",
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time nets.DilatedConv2d against nn.Conv2d, forward and backward, by default for Dilation10's conv6_1."""
    used = device_of(device)
    number_format = precision_on(precision, used)
    if threads:
        torch.set_num_threads(threads)

    def layers() -> tuple[nn.Conv2d, DilatedConv2d]:
        torch.manual_seed(0)
        arguments = (in_channels, out_channels, kernel, 1, dilation * (kernel - 1) // 2, dilation)
        reference, ours = nn.Conv2d(*arguments), DilatedConv2d(*arguments)
        ours.load_state_dict(reference.state_dict())
        return reference, ours

    sizes = whole_numbers(maps, "--maps")
    timings = compare_sizes(sizes, layers, batch, repeats, reference_up_to, not predict, str(used), number_format)
    if as_json:
        print(json.dumps([asdict(timing) for timing in timings]))
        return
    title = f"{in_channels} → {out_channels}, {kernel}x{kernel}, dilation {dilation}, batch {batch}"
    table = Table("map", "DilatedConv2d (s)", "nn.Conv2d (s)", "times faster", "difference", title=title)
    for timing in timings:
        table.add_row(
            f"{timing.size}x{timing.size}",
            *(
                "-" if v is None else f"{v:.3g}"
                for v in (timing.ours, timing.reference, timing.ratio, timing.difference)
            ),
        )
    Console().print(table)
