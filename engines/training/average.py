"""Moving average of the weights (torch.optim.swa_utils)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Tensors = tuple[Tensor, ...] | list[Tensor]


class MovingAverage(AveragedModel):
    """A copy of a network whose weights are the exponential moving average of the network's.

    The first optimizer step sets the average to the weights. Step t after it (t = 1, 2, …) sets it to
    d average + (1 - d) weights with d = min(decay, (1 + t) / (10 + t)), so that a short training does not retain its
    initial weights. Floating-point buffers (running statistics) are averaged likewise, others are copied; weights that
    do not change stay bitwise equal.

    Args:
        network: the network to be trained.
        decay: above 0, below 1.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        def update(averages: Tensors, weights: Tensors, _: Tensor | int) -> None:
            step = int(self.n_averaged)
            if averages[0].is_floating_point():
                get_ema_multi_avg_fn(min(decay, (1 + step) / (10 + step)))(averages, weights, step)
                return
            for average, weight in zip(averages, weights, strict=True):
                average.copy_(weight)

        super().__init__(network, multi_avg_fn=update, use_buffers=True)
        self.module.requires_grad_(False)


class Averaging:
    """The optional moving average of each stage of a training.

    Args:
        decay: see `MovingAverage`; 0 for none.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: MovingAverage | None = None
        self._following: Any = None

    def begin(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> nn.Module:
        """Start the average of a stage; return the network to validate: the average, or the network itself."""
        if not self.decay:
            return network
        if self._following is not None:
            self._following.remove()
        average = self.average = MovingAverage(network, self.decay)
        # after each optimizer step, hence not between accumulated gradients
        self._following = optimizer.register_step_post_hook(lambda *_: average.update_parameters(network))
        validated: nn.Module = average.module
        return validated

    def state(self) -> dict[str, Any]:
        """Return the entry for a checkpoint; empty without an average."""
        return {} if self.average is None else {"average": self.average.state_dict()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Resume from a checkpoint with the entry of `state`."""
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
