"""Inference with networks that accept any size, and with others."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import SimpleInferer
from monai.networks.nets import UNet
from torch import nn

from engines.inference import inferers
from engines.inference.inferers import MirrorAveraging, PaddedInferer, size_multiple
from engines.inference.whole_image import WholeImageInferer
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


def test_mirror_averaging_by_hand() -> None:
    def network(x: torch.Tensor) -> torch.Tensor:
        """Two classes, the first more likely in the first column of every image."""
        scores = torch.zeros(1, 2, 1, 2)
        scores[0, 0, 0, 0] = torch.log(torch.tensor(3.0))
        return scores

    plain = MirrorAveraging(SimpleInferer(), enabled=False)(torch.zeros(1, 1, 1, 2), network)
    assert torch.equal(plain, network(plain))
    mean = MirrorAveraging(SimpleInferer())(torch.zeros(1, 1, 1, 2), network).exp()
    assert torch.allclose(mean[0, 0, 0], torch.tensor([0.625, 0.625]))  # (3/4 + 1/2) / 2
    assert torch.allclose(mean.sum(1), torch.ones(1, 1, 2))


def test_mirror_averaging_of_a_symmetric_network_changes_nothing_but_the_scale() -> None:
    image = torch.rand(2, 3, 5, 7)
    logits = MirrorAveraging(SimpleInferer())(image, lambda x: x)
    assert torch.allclose(logits, image.log_softmax(1), atol=1e-6)


def test_mirror_averaging_where_gradients_are_kept() -> None:
    layer = torch.nn.Conv2d(3, 4, 1)
    MirrorAveraging(SimpleInferer())(torch.rand(1, 3, 5, 7), layer).sum().backward()
    assert layer.weight.grad is not None


def test_mirror_averaging_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.rand(2, 3, 11, 7)
    layer = torch.nn.Conv2d(3, 4, 3, padding=1)
    with torch.no_grad():
        whole = MirrorAveraging(SimpleInferer())(image, layer)
        monkeypatch.setattr(inferers, "STRIP", 4)
        torch.testing.assert_close(MirrorAveraging(SimpleInferer())(image, layer), whole)
        probabilities = (layer(image).softmax(1) + layer(image.flip(-1)).flip(-1).softmax(1)) / 2
    torch.testing.assert_close(whole.exp(), probabilities)
