"""Training with a compiled network; compilation itself is imitated."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from engines import PaddedInferer
from tests.refusals import refused


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was called in compiled form."""
    calls: list[Any] = []

    def compile_(network: Callable[..., Any], dynamic: bool) -> Callable[..., Any]:
        def call(x: torch.Tensor) -> Any:
            calls.append(network)
            return network(x)

        return call

    monkeypatch.setattr(torch, "compile", compile_)
    return calls


def test_what_keeps_a_gradient_runs_compiled_and_the_network_stays_as_it_is(compiled: list[Any]) -> None:
    network, image = nn.Conv2d(1, 2, 1), torch.rand(1, 1, 4, 4)
    names, inferer = set(network.state_dict()), PaddedInferer(compiled=True)
    network.strides = (1,)  # type: ignore[assignment]
    with torch.no_grad():
        expected = inferer(image, network)
    assert compiled == []
    assert torch.equal(inferer(image, network), expected)
    assert compiled == [network]
    assert set(network.state_dict()) == names
    other = copy.deepcopy(network)
    inferer(image, other)
    assert compiled[1] is other
    loaded = pickle.loads(pickle.dumps(copy.deepcopy(inferer)))
    assert torch.equal(loaded(image, network), expected)
    assert len(compiled) == 3


def test_a_smaller_last_batch_is_not_compiled_and_each_size_of_crops_is(compiled: list[Any]) -> None:
    network, inferer = nn.Conv2d(1, 2, 1), PaddedInferer(compiled=True)
    network.strides = (1,)  # type: ignore[assignment]
    for crops, side, calls in ((3, 4, 1), (2, 4, 1), (3, 4, 2), (1, 8, 3), (1, 8, 4)):
        assert inferer(torch.rand(crops, 1, side, side), network).shape == (crops, 2, side, side)
        assert len(compiled) == calls


def test_without_a_compiler_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    error = type("InductorError", (RuntimeError,), {"__module__": "torch._inductor.exc"})

    def fail(x: torch.Tensor) -> None:
        raise error("no g++\nfound")

    monkeypatch.setattr(torch, "compile", lambda network, dynamic: fail)
    network = nn.Conv2d(1, 2, 1)
    with refused("--compile true: torch.compile failed here (no g++ found)"):
        PaddedInferer(compiled=True)(torch.rand(1, 1, 4, 4), network)
