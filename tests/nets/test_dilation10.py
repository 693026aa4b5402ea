"""Dilation10's stages, its context module and its options; what all networks share is in test_contract.py."""

from __future__ import annotations

import pytest
import torch

from nets import Dilation10
from nets.dilation10 import FRONT, ORIGINAL_CONTEXT, TABLE_6

WIDTH = 0.125


@pytest.fixture
def network() -> Dilation10:
    torch.manual_seed(0)
    return Dilation10(4, width=WIDTH)


def trained(network: Dilation10) -> set[str]:
    return {name.split(".")[0] for name, parameter in network.named_parameters() if parameter.requires_grad}


def test_default_context_is_table_6() -> None:
    assert TABLE_6 == (1, 1, 2, 4, 8, 16, 16, 32, 1, 1)


def test_context_module_returns_its_input_at_the_start(network: Dilation10) -> None:
    scores = torch.randn(2, 4, 21, 17)
    torch.testing.assert_close(network.context(scores), scores, rtol=0, atol=1e-6)
    negative = -3 - torch.rand(2, 4, 9, 9)
    torch.testing.assert_close(network.context(negative), negative, rtol=0, atol=1e-6)


@pytest.mark.parametrize("stage", ["context", "global"])
def test_a_stage_starts_where_the_front_ended(network: Dilation10, stage: str) -> None:
    network.eval()
    image = torch.randn(1, 3, 100, 90)
    network.set_stage("front")
    front = network(image)
    network.set_stage(stage)
    later = network(image)
    torch.testing.assert_close(later, front, rtol=0, atol=1e-6)
    assert torch.equal(later.argmax(1), front.argmax(1))


def test_every_class_can_be_learnt_from_any_scores(network: Dilation10) -> None:
    """At a ReLU's zero the gradient is zero: no class may start there, not even the lowest."""
    scores = torch.tensor([5.0, 0.0, 0.0, 0.0]).view(1, 4, 1, 1).expand(1, 4, 6, 6)
    network.context(scores)[:, 1].sum().backward()
    assert network.context10.weight.grad[1].abs().sum() > 0
    assert network.context1.weight.grad[1].abs().sum() > 0


def test_what_each_stage_trains(network: Dilation10) -> None:
    front = {row.name for row in FRONT if "pool" not in row.name}
    context = {f"context{number}" for number in range(1, 11)}
    network.set_stage("front")
    assert trained(network) == front
    network.set_stage("context")
    assert trained(network) == context
    network.set_stage("global")
    assert trained(network) == front | context


def test_the_front_is_not_computed_with_dropout_while_frozen(network: Dilation10) -> None:
    network.train()
    image = torch.randn(1, 3, 40, 40)
    network.set_stage("context")
    assert torch.equal(network(image), network(image))
    network.set_stage("global")
    assert not torch.equal(network(image), network(image))


def test_original_context() -> None:
    network = Dilation10(3, width=WIDTH, context_dilations=ORIGINAL_CONTEXT)
    assert network.context8.dilation == (64, 64)
    assert network.context10.kernel_size == (1, 1)
    scores = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(network.context(scores), scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stage": "fcn8"}, "front, context, global; got 'fcn8'"),
        ({"out_channels": 0}, "out_channels must be at least 1, got 0"),
        ({"in_channels": 0}, "in_channels must be at least 1"),
        ({"width": 0}, "width must be above 0"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"context_dilations": ()}, "context_dilations must be"),
        ({"context_dilations": (1, -2)}, "context_dilations must be"),
        ({"context_dilations": (1, 1.5)}, "context_dilations must be"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dilation10(**{"out_channels": 2, "width": WIDTH} | arguments)


def test_wrong_channel_count_says_what_to_do(network: Dilation10) -> None:
    with pytest.raises(ValueError, match=r"needs \(N, 3, H, W\), got \(1, 1, 32, 32\); repeat a grayscale image"):
        network(torch.zeros(1, 1, 32, 32))
