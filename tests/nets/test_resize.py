"""The common resize function: aligned with the pixels at every size."""

from __future__ import annotations

import pytest
import torch

from nets.resize import crop_to, upsample


def test_by_hand() -> None:
    x = torch.tensor([0.0, 8.0]).view(1, 1, 1, 2)
    assert upsample(x, 2)[0, 0, 0].tolist() == [0, 2, 6, 8]


@pytest.mark.parametrize("factor", [2, 8])
def test_a_ramp_stays_a_ramp_over_its_own_pixels(factor: int) -> None:
    """Cell i holds the mean of its pixels; away from the border the pixels come back."""
    pixels = torch.arange(10.0 * factor)
    cells = pixels.view(10, factor).mean(1).view(1, 1, 1, 10)
    inside = slice(factor, 9 * factor)
    torch.testing.assert_close(upsample(cells, factor)[0, 0, 0, inside], pixels[inside])


def test_crop_keeps_the_top_left() -> None:
    x = torch.arange(12.0).view(1, 1, 3, 4)
    assert torch.equal(crop_to(x, torch.empty(5, 2, 2, 3)), x[..., :2, :3])
