"""Networks, losses and counts on a GPU, against the same on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engines.base.memory_layout import placed
from engines.inference.inferers import MirrorAveraging, PaddedInferer
from engines.inference.tiling.tiled_inferer import TiledInferer
from engines.inference.whole_image import WholeImageInferer
from engines.scoring.metrics import confusion_matrix
from engines.training.losses import WeightedCrossEntropy
from nets import FCN, DeepLabV3, Dilation10, ValidUNet
from nets.dilated_conv import DilatedConv2d
from scripts.measuring.timing import tf32

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

GPU, CLASSES = "cuda", 4
NETWORKS = [(make, stage) for make in (FCN, Dilation10, DeepLabV3, ValidUNet) for stage in make.stages]
every_network = pytest.mark.parametrize(("make", "stage"), NETWORKS, ids=[f"{m.__name__}-{s}" for m, s in NETWORKS])


def built(make: Callable[..., nn.Module], stage: str) -> nn.Module:
    """The same weights at every call; those that start at zero or as the identity are moved away from it."""
    torch.manual_seed(0)
    network = make(CLASSES, width=0.125).eval()
    network.set_stage(stage)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return network


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(2, 3, 161, 98, generator=generator) - 0.5
    return image, torch.randint(0, CLASSES, (2, 1, 161, 98), generator=generator)


def step(network: nn.Module, device: str, channels_last: bool = False, **options: Any) -> tuple[Tensor, list[Tensor]]:
    """Logits and gradients of a training step, on the CPU."""
    network = placed(network, device, channels_last)
    image, label = (value.to(device) for value in batch())
    logits = PaddedInferer(**options)(image, network)
    WeightedCrossEntropy(weight=(1.0, 2.0, 0.5, 3.0)).to(device)(logits, label).backward()
    return logits.detach().float().cpu(), [p.grad.cpu() for p in network.parameters() if p.grad is not None]


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm().clamp_min(1e-12))


@every_network
def test_logits_and_gradients_are_those_of_the_cpu(make: Callable[..., nn.Module], stage: str) -> None:
    logits, gradients = step(built(make, stage), "cpu")
    with tf32(False):
        same = step(built(make, stage), GPU)
        checkpointed = step(built(make, stage), GPU, checkpointing=True)
    half = step(built(make, stage), GPU, channels_last=True, precision="bf16")
    assert distance(same[0], logits) < 1e-4
    assert distance(checkpointed[0], logits) < 1e-4
    assert distance(half[0], logits) < 0.05
    whole = [torch.cat([g.flatten() for g in part]) for part in (gradients, same[1], checkpointed[1], half[1])]
    assert distance(whole[1], whole[0]) < 1e-3
    assert distance(whole[2], whole[0]) < 1e-3
    assert distance(whole[3], whole[0]) < 0.3


@every_network
def test_whole_images_are_segmented_like_on_the_cpu(make: Callable[..., nn.Module], stage: str) -> None:
    image, _ = batch()
    network = built(make, stage)
    with torch.no_grad(), tf32(False):
        expected = MirrorAveraging(WholeImageInferer(), True)(image[:1], network)
        found = MirrorAveraging(WholeImageInferer(), True)(image[:1].to(GPU), network.to(GPU))
    assert distance(found.cpu(), expected) < 1e-4


def test_counts_are_those_of_the_cpu() -> None:
    generator = torch.Generator().manual_seed(2)
    truth, predicted = torch.randint(0, CLASSES, (2, 1, 1, 300, 200), generator=generator)
    expected = confusion_matrix(truth, predicted, CLASSES)
    assert confusion_matrix(truth.to(GPU), predicted.to(GPU), CLASSES).tolist() == expected.tolist()


@every_network
def test_tiles_on_the_gpu_give_a_result_on_the_cpu(make: Callable[..., nn.Module], stage: str) -> None:
    network = built(make, stage)
    image = torch.randn(1, 3, 603, 477, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), tf32(False):
        whole = network(image)
        found = TiledInferer(memory_gb=16 / 1024)(image.to(GPU), network.to(GPU))
    assert found.device.type == "cpu"
    assert distance(found, whole) < 1e-3


def test_a_large_dilated_kernel_is_convolved_by_phases() -> None:
    """In all formats and layouts, and compiled."""
    torch.manual_seed(0)
    layer = DilatedConv2d(16, 24, 7, padding=12, dilation=4)
    image = torch.randn(2, 16, 37, 50)
    expected = layer(image).detach()
    for layout in (torch.contiguous_format, torch.channels_last):
        on_gpu = DilatedConv2d(16, 24, 7, padding=12, dilation=4)
        on_gpu.load_state_dict(layer.state_dict())
        on_gpu = on_gpu.to(GPU, memory_format=layout)
        with torch.no_grad(), tf32(False):
            assert distance(on_gpu(image.to(GPU)).cpu(), expected) < 1e-4
            assert distance(torch.compile(on_gpu)(image.to(GPU)).cpu(), expected) < 1e-4
        with torch.no_grad(), torch.autocast(GPU, torch.bfloat16):
            assert distance(on_gpu(image.to(GPU)).float().cpu(), expected) < 0.02
