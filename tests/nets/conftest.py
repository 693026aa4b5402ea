"""All networks of the comparison, with each stage as a separate case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from nets import FCN, DeepLabV3, Dilation10, ValidUNet

WIDTH = 0.125


@dataclass(frozen=True)
class Case:
    """A network class in one of its stages, at small width."""

    name: str
    make: Callable[..., nn.Module]
    stage: str

    def build(self, out_channels: int = 4, in_channels: int = 3, width: float = WIDTH) -> nn.Module:
        """The same weights at every call."""
        torch.manual_seed(0)
        network = self.make(out_channels, in_channels=in_channels, width=width)
        network.set_stage(self.stage)
        return network


CASES = [
    Case(f"{make.__name__}-{stage}", make, stage)
    for make in (FCN, Dilation10, DeepLabV3, ValidUNet)
    for stage in make.stages
]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param
