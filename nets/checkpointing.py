"""Activation checkpointing: parts of a network that keep their input alone and compute again what their gradient needs.

Inside `checkpointing(network)` a forward pass does so; the network itself does not change, so that copies, checkpoints
and exports are what they were. Results and gradients are the same, dropout and the averages of batch normalization
included. Which parts: the networks built on VGG16 name them (`nets.vgg.run_rows`, from one pooling to the next), of
others they are the smallest modules with two convolutions or more, as the residual units of DeepLabv3 and of MONAI's
UNet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

_active = False  # a plain global: torch.compile cannot look into a context variable
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


@contextmanager
def checkpointing(network: nn.Module) -> Iterator[None]:
    """Forward passes inside keep the inputs of the network's parts only, where a gradient is asked for."""
    global _active
    parts, before = units(network), _active
    _active = True
    for part in parts:
        part.forward = partial(recomputed, part.forward)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for part in parts:
            del part.forward
        _active = before


def recomputed(part: Callable[..., Any], *inputs: Any, **more: Any) -> Any:
    """`part(*inputs)`; inside `checkpointing` computed again when its gradient is."""
    if not _active or not torch.is_grad_enabled():
        return part(*inputs, **more)
    again = partial(_averages_kept, getattr(part, "__self__", None))
    return checkpoint(part, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), again()), **more)


@contextmanager
def _averages_kept(part: Any) -> Iterator[None]:
    """Batch normalization in `part` leaves its running averages alone: the same batch a second time."""
    modules = part.modules() if isinstance(part, nn.Module) else ()
    layers = [layer for layer in modules if isinstance(layer, _BatchNorm)]
    counted = [(layer, count) for layer in layers if (count := layer.num_batches_tracked) is not None]
    before = [(layer.momentum, count.clone()) for layer, count in counted]
    for layer, _ in counted:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for (layer, count), (momentum, batches) in zip(counted, before, strict=True):
            layer.momentum = momentum
            count.copy_(batches)


def units(network: nn.Module) -> list[nn.Module]:
    """The smallest modules with a pass of their own and two convolutions or more, but the network itself."""
    found: list[nn.Module] = []
    for child in network.children():
        if sum(isinstance(layer, CONVOLUTIONS) for layer in child.modules()) < 2:
            continue
        inner = units(child)
        if inner or isinstance(child, nn.ModuleList | nn.ModuleDict):
            found += inner
        else:
            found.append(child)
    return found
