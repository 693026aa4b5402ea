"""Networks trained in stages (sections 2.1 and 2.3); other networks have a single stage."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, TypeVar, cast

import torch
from torch import Tensor, nn

from nets.shared_copy import shared_copy

Network = TypeVar("Network", bound="StagedNetwork")

TRACED_SIZE = (64, 96)
"""Rows and columns of the example for a trace."""


class StagedNetwork(nn.Module):
    """A network whose `set_stage` decides what is computed and which parameters are trained.

    Attributes:
        stages: names of the stages, in training order.
        stage: the current stage.
        in_channels: channels of the input image.
        out_channels: number of classes.
        dropout: probability of zeroing a hidden value in training, where the network does so.
        frozen_stages: stages whose first layers are frozen, and whose pass is `after_frozen` of `frozen_output`.
    """

    stages: ClassVar[tuple[str, ...]]
    frozen_stages: ClassVar[frozenset[str]] = frozenset()
    stage: str

    def __init__(self, out_channels: int, in_channels: int, dropout: float = 0.0) -> None:
        """Check and keep the arguments.

        Raises ValueError if a channel count is below 1 or the dropout not in [0, 1).
        """
        super().__init__()
        for name, value in (("out_channels", out_channels), ("in_channels", in_channels)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.out_channels = out_channels
        self.in_channels = in_channels
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
        self.dropout = dropout

    def trained_layers(self, stage: str) -> frozenset[str]:
        """Return the names of the direct children that `stage` trains; all of them unless overridden."""
        return frozenset(name for name, _ in self.named_children())

    def set_stage(self, name: str) -> None:
        """Compute and train the layers of the stage `name`, and freeze the rest.

        Raises ValueError with the allowed stages if the stage is unknown.
        """
        if name not in self.stages:
            raise ValueError(f"stage must be one of {', '.join(self.stages)}; got {name!r}")
        self.stage = name
        trained = self.trained_layers(name)
        for child_name, child in self.named_children():
            child.requires_grad_(child_name in trained)

    def frozen_output(self, x: Tensor) -> Tensor:
        """Return the output of the frozen layers of one of the `frozen_stages` for images (N, in_channels, H, W).

        A function of the image alone: no dropout, no statistics of the batch.
        """
        raise NotImplementedError(f"{type(self).__name__} has no stage with frozen layers")

    def after_frozen(self, maps: Tensor, like: Tensor) -> Tensor:
        """Return the logits for the result of `frozen_output`, with the height and width of `like` (N, C, H, W)."""
        raise NotImplementedError(f"{type(self).__name__} has no stage with frozen layers")

    def check_input(self, x: Tensor) -> None:
        """Raise ValueError unless `x` is (N, in_channels, H, W)."""
        if torch.jit.is_tracing():  # type: ignore[attr-defined]
            return  # shapes are tensors then, and were checked in the previous call
        if x.dim() != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"{type(self).__name__} needs (N, {self.in_channels}, H, W), got {tuple(x.shape)}; "
                "repeat a grayscale image, or build the network with in_channels=1"
            )

    def for_gray(self: Network) -> Network:
        """Return this network for one-channel images, with its result for the repeated channel, to rounding.

        The first convolution has the sums over its input channels; all other parameters are shared. If its weight is
        derived from others, as in pruning, return the network itself, with the same number of channels.
        """
        name, first = next(item for item in self.named_modules() if isinstance(item[1], nn.Conv2d))
        if f"{name}.weight" not in dict(self.named_parameters()):
            return self
        summed = nn.Parameter(first.weight.sum(dim=1, keepdim=True).detach(), first.weight.requires_grad)
        network = shared_copy(self, lambda key, value: summed if key == f"{name}.weight" else value)
        network.in_channels = 1
        cast(nn.Conv2d, network.get_submodule(name)).in_channels = 1
        return network

    def __prepare_scriptable__(self) -> nn.Module:
        """Return a trace for `torch.jit.script`, which cannot compile the network's look-up of layers by name.

        It is for prediction (dropout is off), in the current stage, and takes any number of images of any size.
        """
        return _Traced(copy.deepcopy(self).eval())


class _Traced(nn.Module):
    def __init__(self, network: StagedNetwork) -> None:
        super().__init__()
        parameter = next(network.parameters())
        with torch.no_grad():
            example = parameter.new_zeros(1, network.in_channels, *TRACED_SIZE)
            self.network: Any = torch.jit.trace(network, example)

    def forward(self, x: Tensor) -> Tensor:
        """Return the network's logits."""
        y: Tensor = self.network(x)
        return y
