"""Training in several processes, started by torchrun: one per GPU, or per few CPU cores.

Every process holds the network and sees its share of the crops and of the validation subjects; gradients are averaged
by DistributedDataParallel, confusion matrices are summed, and only the first process writes.
"""

from __future__ import annotations

import os

import torch
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from engines.base.world import world_size


def local_device() -> torch.device:
    """The GPU that torchrun meant for this process, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def parallel(network: nn.Module) -> nn.Module:
    """The network as several processes train it: what it trains now is averaged over them; itself if there is one.

    To be called again whenever other parameters are trained.
    """
    if world_size() == 1:
        return network
    device = next(network.parameters()).device
    return DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)


def share_averages(network: nn.Module) -> None:
    """Give all processes the mean of their running averages of batch normalization, each of its own crops."""
    if world_size() > 1:
        for buffer in network.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer /= world_size()


def summed(value: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over all processes; no gradient flows through it."""
    if world_size() > 1:
        value = value.detach().clone()
        dist.all_reduce(value)
    return value
