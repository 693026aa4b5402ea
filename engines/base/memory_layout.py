"""Memory layout of a network's weights: channels last suits a GPU's convolutions in half precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from engines.base.loading import AUTO, on_gpu
from engines.base.options import switch
from transforms.errors import UserError


def is_channels_last(choice: Any, device: torch.device | str) -> bool:
    """Return whether a network uses channels last: `choice`, or the value of `auto`, which is true on a GPU.

    Raises:
        UserError: neither true, false nor auto; or true on a CPU, where torch 2.13 may crash in the backward pass.
    """
    chosen = on_gpu(device) if choice == AUTO else switch(choice, "--channels_last", or_else=AUTO)
    if chosen and not on_gpu(device):
        raise UserError("--channels_last true: PyTorch may crash with it on a CPU (docs/options.md); give auto")
    return chosen


def placed(network: nn.Module, device: torch.device | str, channels_last: Any = False) -> nn.Module:
    """Return the network on a device, its weights in the layout that `channels_last` selects there.

    Convolutions return maps in the layout of their weights, regardless of the layout of their input.
    """
    if is_channels_last(channels_last, device):
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.to(device)


def layout_used(options: Mapping[str, Any], device: torch.device | str | None) -> dict[str, bool]:
    """Return the value of the option `channels_last` on a device, for the record; empty without option or device."""
    if "channels_last" not in options or device is None:
        return {}
    return {"channels_last": is_channels_last(options["channels_last"], device)}
