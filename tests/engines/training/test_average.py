"""The moving average of the weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from engines.training.average import Averaging, MovingAverage


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Parameter(torch.tensor([1 / 3, 1e-7]), requires_grad=False)
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer("running", torch.zeros(1))
        self.register_buffer("table", torch.tensor([3, 7]))


def set_to(network: Network, value: float) -> None:
    with torch.no_grad():
        network.weight.fill_(value)
        network.running.fill_(10 * value)


def test_by_hand() -> None:
    network = Network()
    average = MovingAverage(network, 0.25)
    values = []
    for value in (1.0, 2.0, 4.0, 8.0):
        set_to(network, value)
        average.update_parameters(network)
        values.append(average.module.weight[0].item())
    # decay: the first step sets it; then min(1/4, 2/11), min(1/4, 3/12), min(1/4, 4/13)
    second = 2 / 11 * 1 + 9 / 11 * 2
    third = 0.25 * second + 0.75 * 4
    assert values == pytest.approx([1.0, second, third, 0.25 * third + 0.75 * 8])
    assert average.module.running.item() == pytest.approx(10 * values[-1])
    assert torch.equal(average.module.table, network.table)  # integers are copied, not rounded
    assert torch.equal(average.module.frozen, network.frozen)  # to the last bit
    assert not any(p.requires_grad for p in average.module.parameters())


def test_it_follows_the_steps_of_the_optimizer_and_not_the_gradients() -> None:
    network = Network()
    optimizer = torch.optim.SGD([network.weight], lr=1.0)
    averaging = Averaging(0.5)
    validated = averaging.begin(network, optimizer)
    assert validated is not network
    network.weight.sum().backward()  # accumulated: no step yet
    assert averaging.average is not None
    assert averaging.average.n_averaged == 0
    network.weight.sum().backward()
    optimizer.step()
    assert averaging.average.n_averaged == 1
    assert validated.weight.tolist() == [-2.0, -2.0]
    averaging.begin(network, optimizer)  # the next stage: the old average is not updated any longer
    optimizer.step()
    assert averaging.average.n_averaged == 1
    assert validated.weight.tolist() == [-2.0, -2.0]


def test_off_it_is_the_network_itself() -> None:
    network = Network()
    averaging = Averaging(0.0)
    assert averaging.begin(network, torch.optim.SGD([network.weight], lr=1.0)) is network
    assert averaging.state() == {}
    averaging.restore({})


def test_resumed_it_goes_on_to_the_last_bit() -> None:
    network = Network()
    first, second = Averaging(0.9), Averaging(0.9)
    optimizer = torch.optim.SGD([network.weight], lr=1.0)
    first.begin(network, optimizer)
    for value in (0.1, 0.7):
        set_to(network, value)
        optimizer.step()
    saved = copy.deepcopy(first.state())
    second.begin(network, torch.optim.SGD([network.weight], lr=1.0))
    second.restore(saved)
    assert first.average is not None
    assert second.average is not None
    for average in (first.average, second.average):
        set_to(network, 0.3)
        average.update_parameters(network)
    states = first.average.state_dict(), second.average.state_dict()
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
