"""Images through networks that take any size, and through those that do not."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.nets import UNet
from torch import nn

from engines.inferers import PaddedInferer, WholeImageInferer, size_multiple
from nets import FCN


def unet() -> UNet:
    return UNet(2, 3, 4, channels=(8, 8, 8, 8, 8), strides=(2, 2, 2, 2), num_res_units=2).eval()


def test_what_sizes_must_be_divisible_by() -> None:
    assert size_multiple(unet()) == 16
    assert size_multiple(FCN(4, width=0.02)) == 1
    assert size_multiple(nn.DataParallel(unet())) == 16


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 70), columns=st.integers(1, 70))
def test_a_unet_gives_logits_of_the_size_of_any_image(rows: int, columns: int) -> None:
    network = unet()
    with torch.no_grad():
        assert PaddedInferer()(torch.rand(1, 3, rows, columns), network).shape == (1, 4, rows, columns)


def test_padding_repeats_the_border_and_is_cut_off() -> None:
    seen: list[torch.Tensor] = []

    class Recorder(nn.Module):
        strides = (2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return 2 * x

    image = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    assert PaddedInferer()(image, Recorder()).tolist() == [[[[2.0, 4.0, 6.0]]]]
    assert seen[0].tolist() == [[[[1.0, 2.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0]] * 8]]
    PaddedInferer()(torch.zeros(1, 1, 9, 13), Recorder())
    assert seen[1].shape == (1, 1, 12, 16)


def test_a_legal_size_is_handed_over_as_it_is() -> None:
    network, image = unet(), torch.rand(2, 3, 32, 48)
    with torch.no_grad():
        assert torch.equal(PaddedInferer()(image, network), network(image))
        assert torch.equal(WholeImageInferer()(image, network), network(image))


@pytest.mark.parametrize("size", [(1, 1), (17, 40)])
def test_gradients_reach_every_parameter_through_the_padding(size: tuple[int, int]) -> None:
    network = unet().train()
    PaddedInferer()(torch.rand(1, 3, *size), network).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
