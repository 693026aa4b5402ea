"""The convolution by Fourier transform against torch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from nets import dilated_conv, fourier_conv
from nets.dilated_conv import DilatedConv2d
from nets.fourier_conv import SIDE, matrices, pays


def direct(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    padding = dilation * (weight.shape[-1] - 1) // 2
    return F.conv2d(x.double(), weight.double(), None if bias is None else bias.double(), 1, padding, dilation).float()


def assert_same(x: Tensor, weight: Tensor, got: Tensor, expected: Tensor) -> None:
    """Equal up to rounding, which every cell of a piece gets from all of them: by the largest input and the norm of an
    output's weights, not by the output, in which these may cancel. 6e-6 was the most in 4000 random convolutions.
    """
    scale = float(x.abs().max()) * float(weight.flatten(1).norm(dim=1).max()) * x.shape[1] ** 0.5
    torch.testing.assert_close(got, expected, rtol=0, atol=3e-5 * scale)


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 60), st.integers(1, 60)),
    out_channels=st.integers(1, 5),
    kernel=st.sampled_from([1, 3, 5, 7, 9, 15]),
    dilation=st.integers(1, 6),
    bias=st.booleans(),
    last=st.booleans(),
    seed=st.integers(0, 9),
)
def test_any_size(
    size: tuple[int, ...], out_channels: int, kernel: int, dilation: int, bias: bool, last: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    x, weight = torch.randn(size), torch.randn(out_channels, size[1], kernel, kernel)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    offset = torch.randn(out_channels) if bias else None
    got = fourier_conv.fourier_conv(x, weight, offset, dilation)
    assert got.shape == (size[0], out_channels, *size[2:])
    assert_same(x, weight, got, direct(x, weight, offset, dilation))


def test_blocks_of_channels_and_groups_of_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 6, 50, 41), torch.randn(11, 6, 7, 7)
    expected = direct(x, weight, None, 4)
    for block, pieces in ((1, 1), (390 * 40, 10), (2**24, 10**6)):
        monkeypatch.setattr(fourier_conv, "BLOCK", block)
        monkeypatch.setattr(fourier_conv, "PIECES", pieces)
        assert_same(x, weight, fourier_conv.fourier_conv(x, weight, None, 4), expected)


def test_a_piece_by_hand() -> None:
    """A kernel that is one at one place shifts the piece."""
    of_piece, of_kernel, back = (torch.from_numpy(matrix) for matrix in matrices(7))
    piece, kernel = torch.randn(SIDE, SIDE), torch.zeros(7, 7)
    kernel[2, 5] = 1
    core = (back @ ((of_piece @ piece.flatten()) * (of_kernel @ kernel.flatten()))).view(10, 10)
    torch.testing.assert_close(core, piece[2:12, 5:15], rtol=0, atol=1e-5)
    assert len(of_piece) == 3 * (SIDE**2 - 4) // 2 + 4


@pytest.fixture
def wide_layer(monkeypatch: pytest.MonkeyPatch) -> tuple[DilatedConv2d, Tensor]:
    """Uses an eighth of the width of layers that benefit (512 channels), which would take seconds."""
    monkeypatch.setattr(fourier_conv, "WORTH_IT", 1.5)
    torch.manual_seed(0)
    return DilatedConv2d(64, 64, 7, padding=12, dilation=4), torch.randn(1, 64, 80, 80)


def test_it_is_taken_where_it_pays(wide_layer: tuple[DilatedConv2d, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = wide_layer
    taken = []
    monkeypatch.setattr(dilated_conv, "fourier_conv", lambda *a: taken.append(1) or fourier_conv.fourier_conv(*a))
    with torch.no_grad():
        assert_same(x, layer.weight, layer(x), direct(x, layer.weight, layer.bias, 4))
        assert len(taken) == 1
        layer(x[..., :2, :2])  # a few cells
        layer.to(torch.bfloat16)(x.to(torch.bfloat16))
        layer.float()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            layer(x)
        DilatedConv2d(8, 64, 7, padding=12, dilation=4)(x[:, :8])
        DilatedConv2d(64, 8, 3, padding=4, dilation=4)(x)
        torch.jit.trace(layer, x, check_trace=False)
    assert len(taken) == 1


def test_gradients_are_kept_where_they_are_wanted(wide_layer: tuple[DilatedConv2d, Tensor]) -> None:
    layer, x = wide_layer
    y = layer(x)
    y.mean().backward()
    assert layer.weight.grad is not None
    layer.requires_grad_(False)
    x.requires_grad_()
    layer(x).mean().backward()
    assert x.grad is not None


def test_counting_without_numbers_leaves_nothing_behind(wide_layer: tuple[DilatedConv2d, Tensor]) -> None:
    """Tensors cached between calls must have values."""
    layer, x = wide_layer
    fourier_conv.matrices.cache_clear()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        layer(torch.randn(1, 64, 80, 80))
    with torch.no_grad():
        assert_same(x, layer.weight, layer(x), direct(x, layer.weight, layer.bias, 4))


def test_another_default_number_type_changes_nothing() -> None:
    x, weight = torch.randn(1, 2, 30, 30), torch.randn(3, 2, 7, 7)
    torch.set_default_dtype(torch.float64)
    try:
        got = fourier_conv.fourier_conv(x, weight, None, 2)
    finally:
        torch.set_default_dtype(torch.float32)
    assert got.dtype == torch.float32
    assert_same(x, weight, got, direct(x, weight, None, 2))


def test_what_pays() -> None:
    def of(channels_in: int, channels_out: int, kernel: int, size: int, dilation: int = 4) -> bool:
        shape = (channels_out, channels_in, kernel, kernel)
        return pays(torch.empty(1, channels_in, size, size, device="meta"), torch.empty(shape, device="meta"), dilation)

    assert of(512, 4096, 7, 100)
    assert of(512, 4096, 7, 70, dilation=1)
    assert not of(512, 4096, 7, 16)  # four cells a side of each piece
    assert not of(512, 4096, 3, 100)
    assert not of(32, 256, 7, 100)
    assert not of(512, 4096, 17, 100)
