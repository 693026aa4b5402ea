"""Activation checkpointing: parts of a network keep only their input and recompute what their gradient needs.

This applies to forward passes inside `checkpointing(network)`; the network itself does not change, nor do copies,
checkpoints and exports. Results and gradients are the same, including dropout and the averages of batch normalization.
The parts of networks built on VGG16 are defined by `nets.vgg.run_rows`, from one pooling to the next; in other networks
they are the smallest modules with two convolutions or more, such as the residual units of DeepLabv3 and MONAI's UNet.
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
    """Make forward passes inside keep only the inputs of the network's parts, where gradients are enabled."""
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
    """Return `part(*inputs)`; inside `checkpointing` it is recomputed for its gradient."""
    if not _active or not torch.is_grad_enabled():
        return part(*inputs, **more)
    again = partial(_averages_kept, getattr(part, "__self__", None))
    return checkpoint(part, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), again()), **more)


@contextmanager
def _averages_kept(part: Any) -> Iterator[None]:
    """Keep the running averages of batch normalization in `part`, which sees the same batch a second time."""
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
    """Return the smallest submodules with their own forward pass and two convolutions or more."""
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
