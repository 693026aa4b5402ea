"""Memory of a training step, counted."""

from __future__ import annotations

import logging

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines import PaddedInferer, micro_batch_size
from engines.inference.tiling.memory import LiveBytes
from engines.training import step_memory as counted
from engines.training.plan import FineTuning, Stage
from engines.training.step_memory import StepMemory, step_memory
from nets import Dilation10
from tests.refusals import refused

SIZE = (64, 48)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("recompute", [False, True])
def test_what_is_counted_is_what_a_step_takes(precision: str, recompute: bool) -> None:
    """The count on the meta device equals that of a real step; three crops are extrapolated from one and two."""
    network, inferer = Dilation10(3, width=0.02), PaddedInferer(precision, recompute)
    weights = sum(4 * p.numel() for p in network.parameters())
    image, label = torch.rand(3, 3, *SIZE), torch.zeros(3, *SIZE, dtype=torch.long)
    live = LiveBytes()
    with live:
        logits = inferer(image, network)
        total = torch.stack([F.cross_entropy(logits, label)]).sum()
        del logits
        total.backward()
    expected = live.peak + 3 * (4 * 3 + 8) * SIZE[0] * SIZE[1] + 3 * weights
    assert step_memory(network, SIZE, inferer).of(3) == pytest.approx(expected, rel=0.03)


def test_checkpointing_takes_less() -> None:
    network = Dilation10(3, width=0.02)
    plain, less = (step_memory(network, (128, 128), PaddedInferer(checkpointing=on)).per_crop for on in (False, True))
    assert less < 0.8 * plain
    assert all(p.device.type == "cpu" and p.grad is None for p in network.parameters())


@pytest.mark.parametrize(("room", "crops"), [(101, 1), (119, 2), (125, 3), (149, 4), (1000, 12)])
def test_the_most_crops_that_fit_and_divide_the_batch(
    room: float, crops: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """90 bytes, and 10 for each crop; of a batch of 12, which 5 do not divide."""
    sizes = []

    def count(network: nn.Module, size: tuple[int, int], inferer: PaddedInferer) -> StepMemory:
        sizes.append(size)
        return StepMemory(90, 10)

    monkeypatch.setattr(counted, "step_memory", count)
    monkeypatch.setattr(counted, "free_memory", lambda: room / counted.USED)
    plan = [Stage("a", 2, 16, 1.0, FineTuning(1, (64, 32), 1.0)), Stage("b", 2, (20, 30), 1.0)]
    with caplog.at_level(logging.INFO, "mammoseg"):
        assert micro_batch_size("auto", 12, nn.Conv2d(3, 2, 1), plan, PaddedInferer(), "cpu") == crops
    assert f"{crops} of 12 crops at a time" in caplog.text
    assert sizes == [(64, 32)]


def test_a_number_is_taken_and_what_cannot_be_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = [Stage("a", 1, 16, 1.0)]
    assert micro_batch_size(4, 8, nn.Conv2d(3, 2, 1), plan, PaddedInferer(), "cpu") == 4
    assert micro_batch_size(8, 4, nn.Conv2d(3, 2, 1), plan, PaddedInferer(), "cpu") == 4
    monkeypatch.setattr(counted, "free_memory", lambda: 10)
    with refused("--micro_batch_size auto: a crop of 16 x 16 needs 0.0 GB, and 0.0 GB are available"):
        micro_batch_size("auto", 8, nn.Conv2d(3, 2, 1), plan, PaddedInferer(), "cpu")

    class Odd(nn.Conv2d):
        strides = (1,)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if float(x.sum()) else x

    with refused("a step of Odd cannot be counted"):
        micro_batch_size("auto", 8, Odd(3, 2, 1), plan, PaddedInferer(), "cpu")


@pytest.mark.parametrize(("batch", "most", "size"), [(12, 8, 6), (20, 16, 10), (12, 5, 4), (7, 4, 1), (2, 8, 2)])
def test_passes_make_up_the_whole_batch(batch: int, most: int, size: int, caplog: pytest.LogCaptureFixture) -> None:
    plan = [Stage("a", 1, 16, 1.0)]
    with caplog.at_level(logging.INFO, "mammoseg"):
        assert micro_batch_size(most, batch, nn.Conv2d(3, 2, 1), plan, PaddedInferer(), "cpu") == size
    said = f"{size} of {batch} crops at a time, since {min(batch, most)} do not divide the batch"
    assert (said in caplog.text) == (size < min(batch, most))


def test_on_a_gpu_a_step_is_tried_and_fewer_crops_where_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def runs(network: nn.Module, shape: tuple[int, ...], inferer: PaddedInferer, device: torch.device) -> bool:
        tried.append(shape[0])
        return shape[0] <= 2

    monkeypatch.setattr(counted, "_runs", runs)
    monkeypatch.setattr(counted, "default_memory", lambda device: 10**9)
    plan = [Stage("a", 1, 16, 1.0)]
    assert micro_batch_size("auto", 8, nn.Conv2d(3, 2, 1), plan, PaddedInferer(), "cuda") == 2
    assert tried == [8, 4, 2]


def test_a_trial_changes_nothing_and_hears_of_memory_alone() -> None:
    network, state = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)), torch.get_rng_state()
    assert counted._runs(network, (1, 3, 8, 8), PaddedInferer(), torch.device("cpu"))
    assert float(network[1].running_mean.abs().max()) == 0
    assert network[0].weight.grad is None
    assert torch.equal(torch.get_rng_state(), state)

    def full(image: Tensor, network: nn.Module) -> Tensor:
        raise RuntimeError("CUDA out of memory")

    assert not counted._runs(network, (1, 3, 8, 8), full, torch.device("cpu"))
