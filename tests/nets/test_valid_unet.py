"""The unpadded U-Net: legal sizes, and the mirror that frees it of them."""

from __future__ import annotations

import pytest
import torch

from nets import ValidUNet
from nets.valid_unet import LOST, mirror

WIDTH = 0.02


@pytest.mark.parametrize(("size", "result"), [(572, 388), (188, 4), (204, 20)])
def test_without_padding_184_pixels_are_lost(size: int, result: int) -> None:
    network = ValidUNet(2, width=WIDTH, padded=False).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, size, 188)).shape == (1, 2, result, 4)


@pytest.mark.parametrize(("size", "nearest"), [(1, 188), (187, 188), (189, 204), (570, 572)])
def test_an_illegal_size_names_the_next(size: int, nearest: int) -> None:
    network = ValidUNet(2, width=WIDTH, padded=False)
    with pytest.raises(ValueError, match=rf"188 \+ 16 k, got \({size}, 188\).* is {nearest}, or use padded=True"):
        network(torch.zeros(1, 3, size, 188))


def test_padded_is_the_unpadded_network_on_the_mirrored_image() -> None:
    torch.manual_seed(0)
    network = ValidUNet(2, width=WIDTH).eval()
    image = torch.randn(1, 3, 388, 20)
    padded = network(image)
    network.padded = False
    by_hand = torch.cat([image[:, :, :LOST].flip(2), image, image[:, :, -LOST:].flip(2)], dim=2)
    assert by_hand.shape[2] == 572
    torch.testing.assert_close(network(mirror(by_hand, -1)), padded)


def test_mirror_repeats_a_small_image() -> None:
    x = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 1, 3)
    line = mirror(x, -1).flatten()
    assert len(line) == 188
    assert line[LOST - 4 : LOST + 8].tolist() == [3, 3, 2, 1, 1, 2, 3, 3, 2, 1, 1, 2]
