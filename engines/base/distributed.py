"""Training in several processes, started by torchrun: one per GPU, or per few CPU cores.

Every process holds the network and sees its share of the crops and of the validation subjects; gradients are averaged
by DistributedDataParallel, confusion matrices are summed, and only the first process writes.
"""

from __future__ import annotations

import os
from typing import Any

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

    To be called again whenever other parameters are trained. Running averages stay those of each process, see
    `share_at_end`; PyTorch would have those of the first at each step, and drop the others.
    """
    if world_size() == 1:
        return network
    device = next(network.parameters()).device
    devices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)


def share_averages(network: nn.Module) -> None:
    """Give all processes the mean of their running averages of batch normalization, each of its own crops."""
    if world_size() > 1:
        for buffer in network.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer /= world_size()


def share_at_end(trainer: Any, validated: nn.Module) -> None:
    """After the last iteration of an epoch, `share_averages` of the network that is trained and of that validated."""
    if trainer.state.iteration % trainer.state.epoch_length == 0:
        share_averages(trainer.network)
        if validated is not getattr(trainer.network, "module", trainer.network):
            share_averages(validated)


def summed(value: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over all processes; no gradient flows through it."""
    if world_size() > 1:
        value = value.detach().clone()
        dist.all_reduce(value)
    return value
