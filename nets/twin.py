"""Copies of a network that share its parameters, or have others in their place, and leave the network as it is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def twin(network: Network, instead: Callable[[str, Tensor], Tensor]) -> Network:
    """A copy of `network` with `instead(name, tensor)` for each of its parameters and buffers; no value is copied."""
    tensors = (*network.named_parameters(), *network.named_buffers())
    return copy.deepcopy(network, {id(tensor): instead(name, tensor) for name, tensor in tensors})
