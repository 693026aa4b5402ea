"""DeepLabV3's output strides, dilations and group norms; what all networks share is in test_contract.py."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nets import DeepLabV3
from nets.deeplabv3 import group_norm

WIDTH = 0.125


@pytest.mark.parametrize(("stride", "block3", "block4", "pyramid"), [(8, 2, 4, [12, 24, 36]), (16, 1, 2, [6, 12, 18])])
def test_output_stride(stride: int, block3: int, block4: int, pyramid: list[int]) -> None:
    network = DeepLabV3(3, width=WIDTH, output_stride=stride).eval()
    for block, dilation in ((network.block3, block3), (network.block4, block4)):
        for unit in block:
            assert {unit.conv1.dilation[0], unit.conv2.dilation[0]} == {dilation}
    assert [branch[0].dilation[0] for branch in network.aspp.atrous] == pyramid
    shapes = []
    network.aspp.register_forward_hook(lambda module, args, output: shapes.append(output.shape[2:]))
    assert network(torch.zeros(1, 3, 97, 100)).shape == (1, 3, 97, 100)
    assert shapes == [(-(-97 // stride), -(-100 // stride))]


def test_output_strides_are_named() -> None:
    with pytest.raises(ValueError, match="output_stride must be one of 8, 16; got 32"):
        DeepLabV3(2, output_stride=32)


@pytest.mark.parametrize("width", [0.05, 0.125, 0.3, 0.5, 1.0, 2.0])
def test_norms_are_group_norms_at_every_width(width: float) -> None:
    with torch.device("meta"):
        network = DeepLabV3(2, width=width)
    norms = [layer for layer in network.modules() if isinstance(layer, nn.GroupNorm)]
    assert len(norms) == 20 + 6
    assert all(norm.num_channels // norm.num_groups >= 2 for norm in norms)
    if width == 1.0:
        assert {norm.num_groups for norm in norms} == {32}
    assert not any("BatchNorm" in type(layer).__name__ for layer in network.modules())


def test_the_image_branch_is_alive_at_small_width() -> None:
    """With one channel a group, a map of one pixel is normalized to zero."""
    norm = group_norm(32, WIDTH)
    assert norm(torch.randn(1, 32, 1, 1)).abs().max() > 0.1
