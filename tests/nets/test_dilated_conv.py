"""DilatedConv2d against nn.Conv2d: the same parameters, results and gradients, on each of its ways."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch import nn

from nets import FCN, DeepLabV3, Dilation10, dilated_conv
from nets.dilated_conv import DilatedConv2d
from scripts import benchmark

SHAPES = [  # batch, in, out, kernel, dilation, height, width
    (1, 3, 5, 3, 1, 8, 8),
    (2, 4, 6, 3, 2, 9, 7),
    (2, 3, 4, 7, 4, 16, 16),
    (1, 3, 4, 7, 4, 13, 30),
    (3, 2, 4, 7, 4, 5, 3),
    (1, 4, 3, 3, 12, 12, 13),
    (2, 4, 3, 3, 16, 10, 40),
    (2, 4, 3, 3, 32, 10, 9),
    (1, 2, 2, 1, 1, 6, 6),
    (1, 2, 2, (7, 1), (3, 1), 11, 6),
    (1, 2, 2, 3, 64, 1, 1),
]


def by_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolve every square layer as large dilated ones are convolved on a GPU."""
    monkeypatch.setattr(DilatedConv2d, "_is_slow_on_gpu", lambda self, input: len({*self.dilation}) == 1)


@pytest.fixture(params=["nn.Conv2d's limit", "every weight is beyond it", "as on a GPU"])
def limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All ways: with the true limit small layers are cut, with none they go tap by tap, and on a GPU by phases."""
    if request.param == "as on a GPU":
        by_phases(monkeypatch)
    elif request.param != "nn.Conv2d's limit":
        monkeypatch.setattr(dilated_conv, "MAX_FAST_WEIGHTS", 0)


def pair(shape: tuple, **arguments: object) -> tuple[nn.Conv2d, DilatedConv2d]:
    _, in_channels, out_channels, kernel, dilation, _, _ = shape
    sizes = (kernel, dilation) if isinstance(kernel, tuple) else ((kernel,) * 2, (dilation,) * 2)
    padding = tuple(d * (k - 1) // 2 for k, d in zip(*sizes, strict=True))
    torch.manual_seed(0)
    reference = nn.Conv2d(in_channels, out_channels, sizes[0], padding=padding, dilation=sizes[1], **arguments)
    ours = DilatedConv2d(in_channels, out_channels, sizes[0], padding=padding, dilation=sizes[1], **arguments)
    ours.load_state_dict(reference.state_dict())
    return reference, ours


def run(layer: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    x = x.clone().requires_grad_()
    y = layer(x)
    weight = torch.linspace(-1, 1, y.numel()).view_as(y)
    (y * weight).sum().backward()
    return [y.detach(), x.grad, *(p.grad.clone() for p in layer.parameters())]


@pytest.mark.usefixtures("limit")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_results_and_gradients_are_those_of_conv2d(shape: tuple, bias: bool) -> None:
    reference, ours = pair(shape, bias=bias)
    x = torch.randn(shape[0], shape[1], *shape[-2:])
    for expected, got in zip(run(reference, x), run(ours, x), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("limit")
def test_channels_last_input() -> None:
    reference, ours = pair((2, 4, 6, 3, 2, 9, 7))
    x = torch.randn(2, 4, 9, 7).contiguous(memory_format=torch.channels_last)
    for expected, got in zip(run(reference, x), run(ours, x), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_by_hand() -> None:
    """A 3x3 kernel of ones at dilation 2 sums the pixel and its neighbors two away."""
    layer = DilatedConv2d(1, 1, 3, padding=2, dilation=2, bias=False)
    nn.init.ones_(layer.weight)
    x = torch.arange(9.0).view(1, 1, 3, 3)
    expected = torch.tensor([[16.0, 8.0, 16.0], [8.0, 4.0, 8.0], [16.0, 8.0, 16.0]])
    assert torch.equal(layer(x)[0, 0], expected)


@pytest.mark.usefixtures("limit")
@pytest.mark.parametrize(
    "arguments",
    [
        {"stride": 2, "padding": 2, "dilation": 2},
        {"padding": 0, "dilation": 2},
        {"padding": "same", "dilation": 2},
        {"padding": 2, "dilation": 2, "groups": 2},
        {"padding": 2, "dilation": 2, "padding_mode": "reflect"},
        {"padding": 1, "kernel_size": 2},
    ],
    ids=str,
)
def test_other_arguments_work_as_in_conv2d(arguments: dict) -> None:
    arguments = {"kernel_size": 3} | arguments
    reference = nn.Conv2d(4, 6, **arguments)
    ours = DilatedConv2d(4, 6, **arguments)
    ours.load_state_dict(reference.state_dict())
    x = torch.randn(1, 4, 9, 9)
    for expected, got in zip(run(reference, x), run(ours, x), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("limit")
def test_frozen_weights_and_no_gradient() -> None:
    reference, ours = pair((1, 3, 5, 3, 2, 8, 8))
    x = torch.randn(1, 3, 8, 8)
    ours.requires_grad_(False)
    torch.testing.assert_close(ours(x), reference(x).detach())
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), reference(x))
    ours.requires_grad_(True)
    y = ours(x)  # the image needs no gradient
    y.sum().backward()
    assert ours.weight.grad is not None


@pytest.mark.usefixtures("limit")
def test_unbatched_image() -> None:
    reference, ours = pair((1, 3, 5, 3, 2, 8, 8))
    x = torch.randn(3, 8, 8)
    torch.testing.assert_close(ours(x), reference(x))


def test_the_state_is_that_of_conv2d() -> None:
    reference, ours = pair((1, 3, 5, 3, 2, 8, 8))
    assert list(ours.state_dict()) == list(reference.state_dict())
    file = io.BytesIO()
    torch.save(ours.state_dict(), file)
    file.seek(0)
    reference.load_state_dict(torch.load(file, weights_only=True))


def test_a_trace_serves_sizes_where_the_kernel_would_be_cut() -> None:
    _, ours = pair((1, 3, 4, 7, 4, 8, 8))
    traced = torch.jit.trace(ours, torch.randn(1, 3, 8, 8))
    x = torch.randn(1, 3, 40, 40)
    torch.testing.assert_close(traced(x), ours(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", [FCN, Dilation10, DeepLabV3])
@pytest.mark.parametrize("batch", [1, 2])
def test_the_networks_train_tap_by_tap(network: type[nn.Module], batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ReLU behind a convolution works in place, on one image and on more."""
    torch.manual_seed(0)
    image = torch.randn(batch, 3, 40, 33)
    layers = network(2, width=0.05).eval()
    expected = run(layers, image)
    layers.zero_grad()
    monkeypatch.setattr(dilated_conv, "MAX_FAST_WEIGHTS", 0)
    for reference, got in zip(expected, run(layers, image), strict=True):
        torch.testing.assert_close(got, reference, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("network", [FCN, Dilation10, DeepLabV3])
def test_the_networks_train_by_phases(network: type[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    image = torch.randn(2, 3, 83, 70)
    layers = network(2, width=0.05).eval()
    expected = run(layers, image)
    layers.zero_grad()
    by_phases(monkeypatch)
    for reference, got in zip(expected, run(layers, image), strict=True):
        torch.testing.assert_close(got, reference, rtol=1e-3, atol=1e-4)


def test_only_large_dilated_kernels_are_slow_on_a_gpu() -> None:
    on_gpu = cast("torch.Tensor", SimpleNamespace(device=torch.device("cuda")))
    layers = {n: m for n, m in Dilation10(2, width=0.05).named_modules() if isinstance(m, DilatedConv2d)}
    assert [name for name, layer in layers.items() if layer._is_slow_on_gpu(on_gpu)] == ["conv6_1"]
    assert not any(layer._is_slow_on_gpu(torch.zeros(1)) for layer in layers.values())


@pytest.mark.parametrize("more", ["", " --predict", " --precision bf16"])
def test_the_benchmark_command(more: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = more + " --maps 4,9,12 --reference-up-to 9 --in-channels 2 --out-channels 3 --repeats 2 --json"
    assert benchmark.main(["dilated-conv", *arguments.split()]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["size"] for row in rows] == [4, 9, 12]
    assert [row["difference"] is None or row["difference"] < 1e-4 for row in rows] == [True] * 3
    assert rows[0]["ratio"] == pytest.approx(rows[0]["reference"] / rows[0]["ours"])
    assert rows[2]["reference"] is None
    assert benchmark.main(["dilated-conv", "--maps", "x"]) == 2


def test_gradient_check() -> None:
    layer = DilatedConv2d(2, 3, 3, padding=2, dilation=2).double()
    x = torch.randn(2, 2, 5, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(
        dilated_conv._ByTaps.apply, (x, layer.weight, layer.bias, layer.dilation), check_undefined_grad=False
    )


@pytest.mark.parametrize("network", [FCN, Dilation10, DeepLabV3])
def test_the_networks_use_it(network: type[nn.Module]) -> None:
    layers = [layer for layer in network(2, width=0.125).modules() if isinstance(layer, nn.Conv2d)]
    for layer in layers:
        if max(layer.dilation) > 1 or (max(layer.kernel_size) > 3 and layer.stride == (1, 1)):
            assert isinstance(layer, DilatedConv2d), layer
