"""Copies of a network that share or replace its parameters and leave the network unchanged."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def shared_copy(network: Network, instead: Callable[[str, Tensor], Tensor], watched: bool = True) -> Network:
    """Return a copy of `network` with `instead(name, tensor)` for each parameter and buffer; no value is copied.

    Hooks are the network's own; with `watched=False` only forward pre-hooks are kept.
    """
    tensors = (*network.named_parameters(), *network.named_buffers())
    known: dict[int, Any] = {id(tensor): instead(name, tensor) for name, tensor in tensors}
    for module in network.modules():
        for name in HOOKS:
            hooks = getattr(module, name)
            known[id(hooks)] = hooks if watched or name == "_forward_pre_hooks" else OrderedDict()
    return copy.deepcopy(network, known)
