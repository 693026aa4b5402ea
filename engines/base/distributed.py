"""Training in several processes, started by torchrun: one per GPU, or per few CPU cores.

Every process holds the network and sees its share of the crops and of the validation subjects; gradients are averaged
by DistributedDataParallel, confusion matrices are summed, and only the first process writes.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from ignite.engine import Events
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from engines.base.world import world_size


def local_device() -> torch.device:
    """Return the GPU that torchrun assigned to this process, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def parallel(network: nn.Module) -> nn.Module:
    """Wrap the network for training in several processes; return the network itself if there is only one process.

    Gradients of the parameters trained now are averaged over the processes: call again whenever other parameters are
    trained. Each process keeps its own running averages, see `exchange_once`; PyTorch would use those of the first
    process at each step and drop the others.
    """
    if world_size() == 1:
        return network
    device = next(network.parameters()).device
    devices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)


def share_averages(network: nn.Module) -> None:
    """Replace running averages of batch normalization, each of one process's crops, by their mean over processes."""
    if world_size() > 1:
        for buffer in network.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer /= world_size()


def exchange_once(trainer: Any, evaluator: Any) -> None:
    """Make a MONAI trainer average gradients once per update and running averages once per epoch.

    Args:
        trainer: its network is the result of `parallel`. Gradients of the passes before an update are only accumulated,
            as within `DistributedDataParallel.no_sync`.
        evaluator: its network may be the moving average of the trained one.
    """

    def before_pass() -> None:
        passes = (trainer.state.iteration - 1) % trainer.state.epoch_length + 1
        update = passes % trainer.accumulation_steps == 0 or passes == trainer.state.epoch_length
        trainer.network.require_backward_grad_sync = update

    def after_pass() -> None:
        if trainer.state.iteration % trainer.state.epoch_length == 0:
            share_averages(trainer.network)
            if evaluator.network is not trainer.network.module:
                share_averages(evaluator.network)

    if world_size() > 1:
        trainer.add_event_handler(Events.ITERATION_STARTED, before_pass)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, after_pass)


def summed(value: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor over all processes; no gradient flows through it."""
    if world_size() > 1:
        value = value.detach().clone()
        dist.all_reduce(value)
    return value
