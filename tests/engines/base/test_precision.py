"""Number formats of the forward pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engines import PaddedInferer, WholeImageInferer, placed, precision_of, precision_on
from engines.base.memory_layout import layout_used
from engines.base.precision import precision_used, tf32_used
from engines.base.replaced_options import upgraded
from engines.inference.tiling.execution import Devices, lowered
from nets import Dilation10
from tests.refusals import refused


def test_auto_is_fp32_on_a_cpu_and_what_is_asked_for_is_taken() -> None:
    assert precision_on("auto", "cpu") == "fp32"
    assert precision_on("bf16", torch.device("cpu")) == "bf16"
    assert precision_on("fp32", torch.device("cuda")) == "fp32"


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_on_a_gpu_is_bf16_where_the_gpu_has_it(
    has_bf16: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    assert precision_on("auto", "cuda") == expected


@pytest.mark.parametrize("given", ["float32", None, 16, True])
def test_another_precision_is_refused_with_those_there_are(given: object) -> None:
    with refused("expected one of auto, fp32, bf16, fp16"):
        precision_on(given, "cpu")


def test_fp16_needs_a_processor_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert precision_on("fp16", "cuda") == "fp16"
    monkeypatch.setattr("engines.base.precision.computes", lambda precision, device: False)
    with refused("--precision fp16: this CPU has no instructions for it; give bf16 or fp32"):
        precision_on("fp16", "cpu")
    monkeypatch.setattr("engines.base.precision.computes", lambda precision, device: True)
    assert precision_on("fp16", "cpu") == "fp16"


@pytest.mark.parametrize(
    ("settings", "has_it", "expected"),
    [
        ({"precision": "bf16"}, True, "bf16"),
        ({"precision": "bf16"}, False, "fp32"),
        ({"precision": "fp16"}, True, "fp16"),
        ({"precision": "fp32"}, True, "fp32"),
        ({}, True, "fp32"),
    ],
)
def test_weights_are_used_in_the_precision_of_their_training(
    settings: dict[str, str], has_it: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.base.precision.computes", lambda precision, device: has_it)
    assert precision_of(settings, "cpu") == expected


def test_the_record_has_what_auto_came_to() -> None:
    assert precision_used({"precision": "auto", "seed": 1}, "cpu") == {"precision": "fp32"}
    assert precision_used({"seed": 1}, "cpu") == {}
    assert precision_used({"precision": "auto"}, None) == {}


@pytest.mark.parametrize(("used", "expected"), [(True, "convolutions"), (False, "none")])
def test_the_record_of_a_gpu_says_where_tf32_is_used(used: bool, expected: str) -> None:
    with torch.backends.cudnn.flags(allow_tf32=used):
        assert tf32_used(torch.device("cuda")) == {"tf32": expected}
    assert tf32_used(torch.device("cpu")) == {}


def test_trainings_from_before_the_option_were_fp32() -> None:
    assert upgraded({"seed": 1}, {"seed": 1, "precision": "fp32"}) == {"seed": 1, "precision": "fp32"}
    assert upgraded({"seed": 1, "precision": "bf16"}, {"precision": "fp32"})["precision"] == "bf16"
    assert upgraded({"seed": 1}) == {"seed": 1}


class Recorder(nn.Module):
    """One convolution that notes the type of its result."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.seen: torch.dtype | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 1, H, W) → (N, 2, H, W)."""
        result: torch.Tensor = self.conv(x)
        self.seen = result.dtype
        return result


@pytest.mark.parametrize(("precision", "inside"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_network_computes_in_it_and_logits_and_gradients_are_fp32(precision: str, inside: torch.dtype) -> None:
    torch.manual_seed(0)
    network, image = Recorder(), torch.rand(2, 1, 8, 8)
    network.strides = (1,)  # type: ignore[assignment]  # no trial of sizes, which would be recorded, too

    logits = PaddedInferer(precision)(image, network)
    logits.square().mean().backward()

    assert network.seen == inside
    assert logits.dtype == torch.float32
    assert network.conv.weight.dtype == torch.float32
    assert network.conv.weight.grad is not None
    assert network.conv.weight.grad.dtype == torch.float32
    expected = nn.functional.conv2d(image, network.conv.weight, network.conv.bias, padding=1)
    tolerance = 0.0 if precision == "fp32" else 2**-6
    torch.testing.assert_close(logits, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("max_pixels", [10_000, 10], ids=["one pass", "tiles"])
def test_whole_images_are_segmented_in_it(max_pixels: int) -> None:
    torch.manual_seed(0)
    network = Dilation10(3, width=0.02, stage="front").eval()
    image, seen = torch.rand(1, 3, 64, 48) - 0.5, set()
    network.conv2_1.register_forward_hook(lambda module, inputs, result: seen.add(result.dtype))
    with torch.no_grad():
        half, whole = (WholeImageInferer(max_pixels, precision=kind)(image, network) for kind in ("bf16", "fp32"))
    # a network with hooks is not taken apart into tiles
    assert seen == {torch.bfloat16, torch.float32}
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, whole, rtol=0.05, atol=0.05 * float(whole.abs().max()))


def test_tiles_are_computed_in_it_and_maps_are_fp32() -> None:
    devices = Devices(torch.device("cpu"), torch.device("cpu"), 10**9, False, precision="bf16")
    conv = nn.Conv2d(1, 1, 3)
    seen = []

    def run(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen.append(conv(x))
        return (seen[0],)

    (result,) = lowered(run, devices)(torch.rand(1, 1, 8, 8))
    assert seen[0].dtype == torch.bfloat16
    assert result.dtype == torch.float32


def test_channels_last_changes_the_layout_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, image = nn.Conv2d(2, 3, 3, padding=1), torch.rand(1, 2, 5, 4)
    expected, names = network(image), set(network.state_dict())
    assert placed(network, "cpu", "auto").weight.is_contiguous()
    monkeypatch.setattr("engines.base.memory_layout.on_gpu", lambda device: True)
    other = placed(network, "cpu", True)
    assert other.weight.is_contiguous(memory_format=torch.channels_last)
    assert set(other.state_dict()) == names
    torch.testing.assert_close(other(image), expected)
    assert other(image).is_contiguous(memory_format=torch.channels_last)


def test_the_layout_is_recorded_as_what_it_came_to() -> None:
    assert layout_used({"channels_last": "auto"}, "cuda") == {"channels_last": True}
    assert layout_used({"channels_last": "auto"}, "cpu") == {"channels_last": False}
    assert layout_used({"channels_last": "true"}, "cuda") == {"channels_last": True}
    with refused("--channels_last true: PyTorch may crash with it on a CPU"):
        layout_used({"channels_last": "true"}, "cpu")
    assert layout_used({}, "cpu") == {}
    with refused("--channels_last maybe: expected true, false or auto"):
        layout_used({"channels_last": "maybe"}, "cpu")
