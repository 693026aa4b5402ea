"""Whole mammograms: `engines.TiledInferer` against MONAI's `SlidingWindowInferer` and one pass over the whole image.

All run in one process, one after the other, with random weights. Memory is the peak beyond what the process held
before, including the result: of the resident set on a CPU (only on Linux), of torch's allocator on a GPU.
"""

from __future__ import annotations

import gc
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from monai.inferers import Inferer, SlidingWindowInferer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from engines import TiledInferer
from engines.inference.tiling.memory import GB, free_memory, network_bytes
from engines.runs.infer import find_images
from nets import FCN, DeepLabV3, Dilation10, ValidUNet
from scripts.measuring.peak_memory import peak, reset_peak
from transforms.errors import UserError
from transforms.reading.mammogram import read_mammogram

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "fcn": FCN,
    "dilation10": Dilation10,
    "valid-unet": ValidUNet,
    "deeplabv3": DeepLabV3,
}
SIZE = (4560, 2864)
OVERLAP = 0.25
WARM_UP = 256


@dataclass(frozen=True)
class Cost:
    """One network on one image: seconds, peak memory in GB (2**30 bytes), and difference from one whole pass.

    A figure is None if not requested or not available: no whole pass for lack of memory, no peak outside Linux.
    """

    network: str
    image: str
    size: tuple[int, int]
    tiled_seconds: float
    tiled_gb: float | None
    windows_seconds: float | None
    windows_gb: float | None
    times_faster: float | None
    whole_seconds: float | None
    whole_gb: float | None
    tiled_difference: float | None
    windows_difference: float | None


def tiling(
    images: Annotated[
        list[Path] | None, typer.Argument(help="Mammograms, or folders of them. Default: a synthetic one.")
    ] = None,
    networks: Annotated[str, typer.Option(help="Comma-separated names.")] = "fcn,dilation10,valid-unet,deeplabv3",
    width: Annotated[float, typer.Option(help="Factor on the hidden channels.")] = 0.0625,
    classes: Annotated[int, typer.Option(min=2)] = 5,
    memory_gb: Annotated[float, typer.Option(help="Memory for a forward pass on a tile.")] = 0.3,
    window: Annotated[int, typer.Option(help="Side of the sliding windows.", min=64)] = 1024,
    size: Annotated[tuple[int, int], typer.Option(help="Rows and columns of the synthetic image.", min=64)] = SIZE,
    alone: Annotated[bool, typer.Option("--alone", help="Only tiles, without windows and the whole pass.")] = False,
    repeats: Annotated[int, typer.Option(help="Repetitions; the fastest is reported.", min=1)] = 1,
    threads: Annotated[int, typer.Option(help="Torch threads; 0: as configured.", min=0)] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time exact tiles against sliding windows on whole mammograms, and measure their memory."""
    names = [name.strip() for name in networks.split(",")]
    unknown = [name for name in names if name not in NETWORKS]
    if unknown:
        raise UserError(f"--networks {', '.join(unknown)}: unknown; choose from {', '.join(NETWORKS)}")
    if threads:
        torch.set_num_threads(threads)
    costs = []
    paths: list[Path | None] = [*images] if images else [None]
    for name, image in ((title, pixels) for path in paths for title, pixels in pictures(path, size)):
        for network in names:
            torch.manual_seed(0)
            built = NETWORKS[network](classes, width=width).eval().to(device)
            cost = compare(network, built, name, image.to(device), memory_gb, None if alone else window, repeats)
            costs.append(cost)
            told = "" if cost.times_faster is None else f", {cost.times_faster:.1f} times faster than windows"
            Console(stderr=True).print(f"{name}, {network}: {figures(cost.tiled_seconds, cost.tiled_gb)}{told}")
    print(json.dumps([asdict(cost) for cost in costs])) if as_json else Console().print(table(costs, width, window))


def pictures(path: Path | None, size: tuple[int, int] = SIZE) -> list[tuple[str, Tensor]]:
    """Return name and float32 (1, 3, H, W) of images at `path`, normalized to [-0.5, 0.5]; a synthetic one for None."""
    if path is None:
        return [("drawn", drawn(*size))]
    found = []
    for item in find_images(path):
        mammogram = read_mammogram(item["image"])
        low, high = mammogram.intensity_range
        pixels = torch.from_numpy(mammogram.pixels.astype("float32"))
        found.append((item["name"], ((pixels - low) / (high - low) - 0.5).expand(1, 3, -1, -1).contiguous()))
    return found


def drawn(height: int, width: int) -> Tensor:
    """Return half an ellipse of noise at the left border, two fifths of the image, on a uniform background."""
    rows = (torch.arange(height)[:, None] / height - 0.5) / 0.42
    columns = torch.arange(width)[None] / width / 0.62
    noise = torch.rand(height, width, generator=torch.Generator().manual_seed(0)) - 0.5
    return torch.where(rows**2 + columns**2 < 1, noise, -0.5).expand(1, 3, -1, -1).contiguous()


def compare(
    name: str, network: nn.Module, title: str, image: Tensor, memory_gb: float, side: int | None, repeats: int
) -> Cost:
    """Segment `image` in all three ways; only in tiles if `side`, that of the windows, is None."""
    tiled, tiled_seconds, tiled_gb = cost_of(TiledInferer(memory_gb=memory_gb), network, image, repeats)
    windows_seconds = windows_gb = whole_seconds = whole_gb = tiled_difference = windows_difference = None
    if side is not None:
        windows = SlidingWindowInferer((side, side), overlap=OVERLAP, mode="gaussian", device=torch.device("cpu"))
        slid, windows_seconds, windows_gb = cost_of(windows, network, image, repeats)
        if network_bytes(network, image, image.shape) < available(image.device):
            whole, whole_seconds, whole_gb = cost_of(lambda x, run: run(x).cpu(), network, image, repeats)
            tiled_difference, windows_difference = (different(result, whole) for result in (tiled, slid))
    return Cost(
        network=name,
        image=title,
        size=(image.shape[-2], image.shape[-1]),
        tiled_seconds=tiled_seconds,
        tiled_gb=tiled_gb,
        windows_seconds=windows_seconds,
        windows_gb=windows_gb,
        times_faster=None if windows_seconds is None else windows_seconds / tiled_seconds,
        whole_seconds=whole_seconds,
        whole_gb=whole_gb,
        tiled_difference=tiled_difference,
        windows_difference=windows_difference,
    )


def different(logits: Tensor, whole: Tensor) -> float:
    """Return the largest difference relative to the largest logit."""
    return float((logits - whole).abs().max() / whole.abs().max())


def available(device: torch.device) -> int:
    """Return the bytes that a pass may allocate on this device."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_memory() // 2


def cost_of(
    inferer: Inferer | Callable[..., Tensor], network: nn.Module, image: Tensor, repeats: int
) -> tuple[Tensor, float, float | None]:
    """Segment `image`; return the logits, the shortest time and the peak memory."""
    shortest = float("inf")
    with torch.no_grad():
        inferer(image[..., :WARM_UP, :WARM_UP], network)
        for _ in range(repeats):
            result = None
            before = start_counting(image.device)
            start = time.perf_counter()
            result = inferer(image, network)
            if image.device.type == "cuda":
                torch.cuda.synchronize(image.device)
            shortest = min(shortest, time.perf_counter() - start)
            held = most_held(image.device) - before
    if result is None:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    return result, shortest, None if math.isnan(held) else held / GB


def start_counting(device: torch.device) -> float:
    """Reset the peak memory; return the bytes held now, NaN if unknown."""
    if device.type != "cuda":
        return 1e6 * reset_peak()
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    return float(torch.cuda.memory_allocated(device))


def most_held(device: torch.device) -> float:
    """Return the peak bytes since `start_counting`."""
    return float(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else 1e6 * peak()


def table(costs: Sequence[Cost], width: float, window: int) -> Table:
    """Return a table of times and memory; differences are relative to the largest logit of the whole pass."""
    heads = ("network", "image", "tiles", "windows", "times faster", "whole", "tiles differ", "windows differ")
    result = Table(*heads, title=f"width {width:g}, windows of {window} with an overlap of {OVERLAP:g}")
    for cost in costs:
        result.add_row(
            cost.network,
            f"{cost.image}, {cost.size[0]} x {cost.size[1]}",
            figures(cost.tiled_seconds, cost.tiled_gb),
            figures(cost.windows_seconds, cost.windows_gb),
            "-" if cost.times_faster is None else f"{cost.times_faster:.1f}",
            figures(cost.whole_seconds, cost.whole_gb),
            *("-" if v is None else f"{v:.1e}" for v in (cost.tiled_difference, cost.windows_difference)),
        )
    return result


def figures(seconds: float | None, memory: float | None) -> str:
    """Format seconds and GB, if known."""
    return f"{'-' if seconds is None else f'{seconds:.1f} s'}, {'-' if memory is None else f'{memory:.2f} GB'}"
