"""FCN's stages, each starting where the one before ended; what all networks share is in test_contract.py."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nets import FCN, fcn, initialise
from nets.resize import upsample

WIDTH = 0.125


@pytest.fixture
def network() -> FCN:
    torch.manual_seed(0)
    return FCN(4, width=WIDTH).eval()


@pytest.mark.parametrize("size", [(64, 64), (97, 130), (33, 40), (5, 3)], ids=str)
@pytest.mark.parametrize("relu", [True, False])
def test_each_stage_starts_as_the_one_before(size: tuple[int, int], relu: bool) -> None:
    torch.manual_seed(0)
    network = FCN(4, width=WIDTH, relu_after_transposed=relu).eval()
    nn.init.normal_(network.scores.weight, std=0.1)  # scores of order 1, as after training
    nn.init.normal_(network.scores.bias)
    image = torch.randn(1, 3, *size)
    results = []
    for stage in network.stages:
        network.set_stage(stage)
        results.append(network(image))
    assert results[0].min() < -0.1, "negative scores are the hard case"
    for later in results[1:]:
        torch.testing.assert_close(later, results[0], rtol=0, atol=5e-6)


def test_what_a_plain_relu_would_cost(network: FCN, monkeypatch: pytest.MonkeyPatch) -> None:
    """The switch's documented alternative: a ReLU on the scores themselves loses the negative ones."""
    image = torch.randn(1, 3, 64, 64)
    network.set_stage("fcn32")
    expected = network(image)
    network.set_stage("fcn16")
    monkeypatch.setattr("nets.fcn.logit_floor", lambda scores: torch.zeros_like(scores[:, :1]))
    assert (network(image) - expected).abs().max() > 0.05


def test_what_each_stage_trains(network: FCN) -> None:
    def trained() -> set[str]:
        return {name.split(".")[0] for name, p in network.named_parameters() if p.requires_grad}

    network.set_stage("fcn32")
    encoder = trained()
    assert {"conv1_1", "conv6_2", "scores"} <= encoder
    assert len(encoder) == 16
    network.set_stage("fcn16")
    assert trained() == encoder | {"t_conv_1", "score_pool4"}
    network.set_stage("fcn8")
    assert trained() == encoder | {"t_conv_1", "score_pool4", "t_conv_2", "score_pool3"}


def test_every_stage_learns_from_the_skip_it_adds(network: FCN) -> None:
    image = torch.randn(1, 3, 64, 64)
    network.set_stage("fcn16")
    before = network(image)
    nn.init.ones_(network.score_pool3.weight)
    assert torch.equal(network(image), before)
    nn.init.ones_(network.score_pool4.weight)
    assert not torch.equal(network(image), before)


def test_bilinear_start_is_the_bilinear_resize() -> None:
    layer = nn.ConvTranspose2d(3, 3, 4, stride=2, padding=3)
    initialise.bilinear(layer)
    x = torch.randn(1, 3, 5, 7)
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    torch.testing.assert_close(layer(padded), upsample(x, 2), rtol=0, atol=1e-6)
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    torch.testing.assert_close(layer.weight[1, 1].detach(), torch.outer(line, line))


def test_bilinear_start_needs_a_kernel_of_twice_the_stride() -> None:
    with pytest.raises(ValueError, match="twice the stride 2, got \\(3, 3\\)"):
        initialise.bilinear(nn.ConvTranspose2d(1, 1, 3, stride=2))


def test_compiled_code_repeats_edges_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(1, 2, 3, 4)
    padded = fcn._repeat_edge(x)
    monkeypatch.setattr(torch.compiler, "is_dynamo_compiling", lambda: True)
    assert torch.equal(fcn._repeat_edge(x), padded)
