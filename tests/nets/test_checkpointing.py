"""Activation checkpointing and fp32 class scores: memory for gradients, and unchanged results."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from monai.networks.nets import UNet
from torch import Tensor, nn

from engines import PaddedInferer
from nets import FCN, DeepLabV3, Dilation10
from nets.checkpointing import checkpointing, units
from nets.full_precision import full
from tests.refusals import refused

BUILD: dict[str, Callable[[], nn.Module]] = {
    "fcn8": lambda: FCN(3, width=0.02),
    "global": lambda: Dilation10(3, width=0.02),
    "context": lambda: Dilation10(3, width=0.02, stage="context"),
    "deeplabv3": lambda: DeepLabV3(3, width=0.02),
    "unet": lambda: UNet(2, 3, 3, (8, 8), (2,), num_res_units=2, norm="INSTANCE", dropout=0.1),
    "batch norm": lambda: UNet(2, 3, 3, (8, 8), (2,), num_res_units=2, norm="BATCH"),
}


def gradients(network: nn.Module, recompute: bool, precision: str) -> tuple[list[Tensor], int]:
    """Logits, gradients, running averages, and a random number drawn afterwards; and bytes kept for the gradient."""
    network.zero_grad()
    torch.manual_seed(1)
    kept: dict[int, int] = {}

    def note(x: Tensor) -> Tensor:
        if not isinstance(x, nn.Parameter):
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    image = torch.linspace(-1, 1, 2 * 3 * 48 * 32).view(2, 3, 48, 32)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        logits = PaddedInferer(precision, checkpointing=recompute)(image, network)
    size = sum(kept.values())
    logits.square().mean().backward()
    averages = [average.double() for average in network.buffers()]
    trained = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    return [logits.detach(), *trained, *averages, torch.rand(1)], size


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", BUILD)
def test_gradients_are_the_same_and_less_is_kept(name: str, precision: str) -> None:
    torch.manual_seed(0)
    network = BUILD[name]()
    (one, whole), (two, less) = (gradients(copy.deepcopy(network), recompute, precision) for recompute in (False, True))
    assert len(one) == len(two)
    for expected, found in zip(one, two, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    assert name == "context" or less < 0.7 * whole  # whose front is frozen and keeps nothing in either case
    assert not any("forward" in vars(module) for module in network.modules())


def test_units_are_the_smallest_parts_with_two_convolutions() -> None:
    assert [type(unit).__name__ for unit in units(DeepLabV3(3, width=0.02))] == [*["Residual"] * 8, "ASPP"]
    assert units(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())) == []


def test_without_gradients_nothing_is_computed_twice() -> None:
    calls = []
    network = nn.Sequential(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)), nn.ReLU())
    network[0][0].register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad(), checkpointing(network):
        network(torch.rand(1, 1, 4, 4))
    assert calls == [1]


def test_checkpointing_and_compiling_are_refused_together() -> None:
    with refused("--checkpointing true does not go with --compile true"):
        PaddedInferer(checkpointing=True, compiled=True)


@pytest.mark.parametrize("name", ["fcn8", "global", "deeplabv3"])
def test_class_scores_are_fp32_in_half_precision(name: str) -> None:
    network = BUILD[name]().eval()
    inside: list[torch.dtype] = []
    network.scores.register_forward_hook(lambda module, inputs, result: inside.append(result.dtype))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(torch.rand(1, 3, 32, 32))
    assert [*inside, logits.dtype] == [torch.float32] * 2


def test_full_leaves_other_number_types_alone() -> None:
    x = torch.rand(1, 1, 2, 2, dtype=torch.float64)
    assert full(lambda y: 2 * y, x).dtype == torch.float64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert full(nn.Conv2d(1, 1, 1), x.bfloat16()).dtype == torch.float32


def test_group_norm_sums_in_fp32_in_half_precision() -> None:
    """A mean of 100 over 4096 values: summed in bfloat16, whose next number after 256 is 258, it would be lost."""
    torch.manual_seed(0)
    x = (100 + torch.randn(1, 8, 64, 64)).bfloat16()
    norm = nn.GroupNorm(2, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = norm(x)
    torch.testing.assert_close(found.float(), norm(x.float()), rtol=2**-7, atol=2**-7)
