"""Group norm of large maps against torch's of small ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engines.inference.tiling import group_norm as tiling_norm
from engines.inference.tiling.group_norm import Moments, normalise


@pytest.fixture(params=[torch.contiguous_format, torch.channels_last], ids=["channels first", "channels last"])
def layout(request: pytest.FixtureRequest) -> torch.memory_format:
    return request.param


def norm_of(groups: int, channels: int) -> nn.GroupNorm:
    norm = nn.GroupNorm(groups, channels)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-1, 2, channels))
        norm.bias.copy_(torch.linspace(1, -1, channels))
    return norm


@pytest.mark.parametrize("band", [1, 64, 2**17])
def test_moments_of_parts_are_those_of_the_whole(band: int, layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling_norm, "BAND", band)
    torch.manual_seed(0)
    x = torch.randn(2, 6, 31, 17).to(memory_format=layout)
    moments = Moments()
    for part in x.split(10, dim=2):
        for piece in part.split(9, dim=3):
            moments.add(piece)
    variance, mean = torch.var_mean(x.double(), dim=(2, 3), correction=0)
    assert moments.count == 31 * 17
    torch.testing.assert_close(moments.mean, mean, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(moments.squares / moments.count, variance, rtol=1e-6, atol=0)


def test_a_large_mean_does_not_swallow_the_variance() -> None:
    """As if half an image is air: sums of squares in float32 would be wrong from the third digit on."""
    x = 1000 + 0.01 * torch.randn(1, 4, 300, 500, generator=torch.Generator().manual_seed(0))
    moments = Moments()
    moments.add(x)
    torch.testing.assert_close(
        moments.squares / moments.count, x.double().var(dim=(2, 3), correction=0), rtol=1e-4, atol=0
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("add", [True, False])
@pytest.mark.parametrize("relu", [True, False])
def test_normalise_is_group_norm(
    dtype: torch.dtype, add: bool, relu: bool, layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiling_norm, "BAND", 100)
    torch.manual_seed(0)
    norm = norm_of(3, 6).to(dtype)
    x = (3 + torch.randn(2, 6, 13, 9)).to(dtype).to(memory_format=layout)
    more = torch.randn(2, 6, 13, 9).to(dtype).to(memory_format=layout) if add else None
    expected = norm(x.contiguous()) + (0 if more is None else more)
    expected = expected.relu() if relu else expected
    with torch.no_grad():
        result = normalise(norm, x.clone(), more, relu)
    torch.testing.assert_close(result, expected, **({"rtol": 1e-5, "atol": 1e-5} if dtype is torch.float32 else {}))


def test_nothing_has_no_moments() -> None:
    with pytest.raises(ValueError, match="no part of the map"):
        Moments().scale_and_shift(norm_of(1, 2))
