"""Training steps of DeepLabv3 here and in segmentation_models_pytorch (smp); see `scripts.benchmarks.peers`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nets.deeplabv3 import DeepLabV3, group_norm
from scripts.measuring.bundle_networks import recipe_of
from scripts.measuring.gemm import flops_of
from scripts.measuring.rows import aligned
from scripts.measuring.timing import device_name, device_of, in_turns
from transforms.crops import rows_and_columns
from transforms.errors import UserError

CLASSES = 5
HERE, AS_IT_COMES, SAME_LAYERS = "here", "smp", "smp, same layers"


@dataclass(frozen=True)
class Step:
    """Cost of a forward pass, loss, backward pass and update.

    Attributes:
        way: network.
        batch: number of images and their size.
        device: device of the computation.
        versions: versions of torch and smp.
        parameters: number of parameters of the network.
        gflop: operations of a step's convolutions and matrix products, in 10**9.
        seconds: median.
        samples_per_second: from the median.
        ratios: seconds divided by those of the network here, per turn.
    """

    way: str
    batch: str
    device: str
    versions: str
    parameters: int
    gflop: float
    seconds: float
    samples_per_second: float
    ratios: list[float]


def compare_steps(
    recipes: str = "quick,tissue",
    device: str = "",
    repeats: int = 5,
    threads: int = 1,
    as_json: bool = False,
) -> None:
    """Measure and print the steps on each recipe's crops.

    Raises:
        UserError: smp is not installed, or a recipe or the device is unknown.
    """
    used = device_of(device)
    torch.set_num_threads(threads)
    steps = [step for name in recipes.split(",") for step in _steps(name.strip(), used, repeats)]
    if as_json:
        print(json.dumps([asdict(step) for step in steps]))
        return
    head = ("network", "batch", "parameters", "GFLOP", "seconds", "samples/s", "seconds / here (low to high)")
    print(f"{steps[0].device}, {steps[0].versions}")
    print(aligned([head, *map(_cells, steps)]))


def _cells(step: Step) -> tuple[str, ...]:
    low, middle, high = min(step.ratios), median(step.ratios), max(step.ratios)
    spread = "" if step.way == HERE else f"{middle:.2f} ({low:.2f} to {high:.2f})"
    size = (f"{step.parameters:,}", f"{step.gflop:.0f}", f"{step.seconds:.3f}", f"{step.samples_per_second:.2f}")
    return step.way, step.batch, *size, spread


def _steps(recipe_name: str, device: torch.device, repeats: int) -> Iterator[Step]:
    smp = smp_module()
    recipe = recipe_of("deeplabv3", recipe_name)
    size, count = rows_and_columns(recipe["crop_size"]), min(recipe["batch_size"], recipe["micro_batch_size"])
    if any(side % 8 for side in size):
        raise UserError(f"--recipes {recipe_name}: has crops of {size[0]} x {size[1]}; smp needs multiples of 8")
    image = torch.rand(count, 3, *size, device=device)
    label = torch.randint(0, CLASSES, (count, *size), device=device)
    networks: dict[str, nn.Module] = {}
    for way in (HERE, AS_IT_COMES, SAME_LAYERS):
        torch.manual_seed(0)
        networks[way] = (DeepLabV3(CLASSES) if way == HERE else peer(way)).to(device).train()
    runs = {way: _step(network, image, label) for way, network in networks.items()}
    gflop = {way: flops_of(run) / 1e9 for way, run in runs.items()}
    seconds = in_turns(runs, repeats, device)
    for way, network in networks.items():
        yield Step(
            way=way,
            batch=f"{count} x {size[0]} x {size[1]}",
            device=device_name(device),
            versions=f"torch {torch.__version__}, segmentation_models_pytorch {smp.__version__}",
            parameters=sum(p.numel() for p in network.parameters()),
            gflop=gflop[way],
            seconds=median(seconds[way]),
            samples_per_second=count / median(seconds[way]),
            ratios=[theirs / ours for theirs, ours in zip(seconds[way], seconds[HERE], strict=True)],
        )


def _step(network: nn.Module, image: torch.Tensor, label: torch.Tensor) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4, fused=image.device.type == "cuda")

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(network(image), label).backward()
        optimizer.step()

    return run


def smp_module() -> Any:
    """Import segmentation_models_pytorch.

    Raises:
        UserError: the package or one that it needs is not installed.
    """
    try:
        return import_module("segmentation_models_pytorch")
    except ImportError as error:
        raise UserError(
            f"peers: cannot import segmentation_models_pytorch ({error}); in a separate environment: pip install "
            "segmentation-models-pytorch torchvision monai pytorch-ignite scipy "
            "(docs/results.md#deeplabv3-of-another-library)"
        ) from error


def peer(way: str) -> nn.Module:
    """Return smp's DeepLabV3 on ResNet-18, output stride 8, with group norm in place of batch norm.

    `SAME_LAYERS` removes layers that the network here lacks: the 3x3 convolution after the pyramid, and dropout.
    """
    network: nn.Module = smp_module().DeepLabV3(
        "resnet18", encoder_weights=None, encoder_output_stride=8, in_channels=3, classes=CLASSES
    )
    if way == SAME_LAYERS:
        decoder: Any = network.decoder
        decoder.conv, decoder.bn, decoder.relu = nn.Identity(), nn.Identity(), nn.Identity()
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, group_norm(child.num_features, width=1))
            elif isinstance(child, nn.Dropout) and way == SAME_LAYERS:
                setattr(module, name, nn.Identity())
    return network
