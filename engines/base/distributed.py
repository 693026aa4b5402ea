"""Training in several processes, started by torchrun: one per GPU, or per few CPU cores.

Every process holds the network and sees its share of the crops and of the validation subjects; gradients are averaged
by DistributedDataParallel, confusion matrices are summed, and only the first process writes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from transforms.errors import UserError


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def is_main() -> bool:
    """Whether this process is the one that writes and prints."""
    return rank() == 0


def local_device() -> torch.device:
    """The GPU that torchrun meant for this process, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def shard(items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """This process's share of a data set's items: every n-th subject, with all images of it.

    Raises:
        UserError: there are more processes than subjects; one without any would never answer the others.
    """
    numbers = {subject: n for n, subject in enumerate(dict.fromkeys(item["subject"] for item in items))}
    if world_size() > len(numbers):
        raise UserError(
            f"{world_size()} processes share {len(numbers)} validation subjects: each needs one; start fewer processes"
        )
    return [item for item in items if numbers[item["subject"]] % world_size() == rank()]


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


def gathered(things: Sequence[Any]) -> list[Any]:
    """What all processes hold, in the order of the processes; for every process."""
    if world_size() == 1:
        return list(things)
    parts: list[Any] = [None] * world_size()
    dist.all_gather_object(parts, list(things))
    return [thing for part in parts for thing in part]


def summed(value: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over all processes; no gradient flows through it."""
    if world_size() > 1:
        value = value.detach().clone()
        dist.all_reduce(value)
    return value
