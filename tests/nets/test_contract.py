"""Contract of every network, in every stage."""

from __future__ import annotations

import copy
import importlib.util
import inspect
import io
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from monai.bundle import ConfigParser
from repository import ROOT

import nets
from tests.nets.conftest import Case

SIZES = [(height, 227 - height) for height in range(97, 131)]  # every side from 97 to 130, not square
SMALL = [(1, 1), (1, 40), (2, 3), (7, 9), (8, 8), (31, 33)]


def image(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestContract:
    def test_every_size_from_97_to_130_comes_back(self, case: Case) -> None:
        network = case.build(3, in_channels=1, width=0.01).eval()
        with torch.inference_mode():
            for height, width in SIZES:
                assert network(image(1, 1, height, width)).shape == (1, 3, height, width)

    @pytest.mark.parametrize("size", SMALL, ids=str)
    @pytest.mark.parametrize("channels", [1, 3])
    def test_small_sizes_come_back(self, case: Case, size: tuple[int, int], channels: int) -> None:
        network = case.build(2, in_channels=channels).eval()
        with torch.inference_mode():
            logits = network(image(2, channels, *size))
        assert logits.shape == (2, 2, *size)
        assert logits.isfinite().all()

    def test_for_gray_is_the_network_of_the_channel_repeated(self, case: Case) -> None:
        network = case.build().eval()
        state = {name: value.clone() for name, value in network.state_dict().items()}
        gray = network.for_gray()
        x = image(2, 1, 61, 50)
        with torch.inference_mode():
            expected = network(x.expand(-1, 3, -1, -1))
            torch.testing.assert_close(gray(x), expected, rtol=1e-4, atol=1e-5)
            with pytest.raises(ValueError, match=r"needs \(N, 1, H, W\)"):
                gray(expected)
        own = {id(parameter) for parameter in gray.parameters()} - {id(parameter) for parameter in network.parameters()}
        assert len(own) == 1  # no other weight is held twice
        assert network.in_channels == 3
        assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())

    def test_a_batch_of_one_trains(self, case: Case) -> None:
        network = case.build().train()
        network(image(1, 3, 33, 40)).sum().backward()
        assert not any(isinstance(layer, torch.nn.modules.batchnorm._BatchNorm) for layer in network.modules())

    def test_the_images_of_a_batch_do_not_see_each_other(self, case: Case) -> None:
        network = case.build().eval()
        batch = image(3, 3, 40, 56)
        alone = torch.cat([network(x[None]) for x in batch])
        torch.testing.assert_close(network(batch), alone, rtol=1e-4, atol=1e-5)

    def test_the_gradient_reaches_what_is_trained_and_nothing_else(self, case: Case) -> None:
        network = case.build().train()
        logits = network(image(2, 3, 64, 72))
        F.cross_entropy(logits, torch.randint(0, 4, (2, 64, 72))).backward()
        trained = [p for p in network.parameters() if p.requires_grad]
        assert trained
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, name
                assert parameter.grad.isfinite().all(), name
                assert parameter.grad.abs().max() > 0, name
            else:
                assert parameter.grad is None, name

    def test_an_optimiser_step_changes_what_is_trained_and_nothing_else(self, case: Case) -> None:
        network = case.build().train()
        before = copy.deepcopy(network.state_dict())
        optimiser = torch.optim.SGD((p for p in network.parameters() if p.requires_grad), lr=0.1, momentum=0.9)
        F.cross_entropy(network(image(2, 3, 64, 72)), torch.randint(0, 4, (2, 64, 72))).backward()
        optimiser.step()
        for name, parameter in network.named_parameters():
            assert torch.equal(parameter, before[name]) is not parameter.requires_grad, name

    @pytest.mark.parametrize("classes", [2, 4, 20])
    def test_the_first_loss_is_that_of_a_guess(self, case: Case, classes: int) -> None:
        network = case.build(classes).train()
        labels = torch.randint(0, classes, (2, 96, 96), generator=torch.Generator().manual_seed(0))
        loss = F.cross_entropy(network(image(2, 3, 96, 96)), labels).item()
        assert loss == pytest.approx(math.log(classes), rel=0.2)

    def test_the_state_goes_through_a_file(self, case: Case) -> None:
        network = case.build().eval()
        file = io.BytesIO()
        torch.save(network.state_dict(), file)
        file.seek(0)
        torch.manual_seed(99)
        other = case.make(4, width=0.125)
        other.set_stage(case.stage)
        other.load_state_dict(torch.load(file, weights_only=True))
        x = image(1, 3, 50, 50)
        assert torch.equal(other.eval()(x), network(x))

    def test_the_same_seed_gives_the_same_training(self, case: Case) -> None:
        losses = []
        for _ in range(2):
            network = case.build().train()
            torch.manual_seed(5)
            optimiser = torch.optim.SGD((p for p in network.parameters() if p.requires_grad), lr=0.01)
            for _ in range(2):
                optimiser.zero_grad()
                loss = F.cross_entropy(network(image(2, 3, 40, 40)), torch.ones(2, 40, 40, dtype=torch.long))
                loss.backward()
                optimiser.step()
            losses.append(loss.item())
        assert losses[0] == losses[1]

    def test_channels_last_gives_the_same(self, case: Case) -> None:
        network = case.build().eval()
        x = image(2, 3, 45, 51)
        expected = network(x)
        network = network.to(memory_format=torch.channels_last)
        result = network(x.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
    def test_half_precision_is_finite(self, case: Case, dtype: torch.dtype) -> None:
        network = case.build().eval().to(dtype)
        with torch.inference_mode():
            assert network(image(1, 3, 40, 40).to(dtype)).isfinite().all()

    def test_autocast_trains(self, case: Case) -> None:
        network = case.build().train()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(image(1, 3, 40, 40))
        logits.float().sum().backward()
        assert all(p.grad.isfinite().all() for p in network.parameters() if p.requires_grad)

    @pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning:torch")
    def test_scripted_gives_the_same_for_any_size_and_leaves_the_network_alone(
        self, case: Case, tmp_path: Path
    ) -> None:
        """As the model zoo exports networks: compiled, saved, loaded."""
        network = case.build().train()
        torch.jit.save(torch.jit.script(network), tmp_path / "model.ts")
        assert network.training
        network.eval()
        scripted = torch.jit.load(tmp_path / "model.ts")
        for size in ((2, 33, 47), (1, 130, 64)):
            x = image(size[0], 3, *size[1:])
            torch.testing.assert_close(scripted(x), network(x), rtol=1e-4, atol=1e-4)

    @pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning:torch")  # torch's own check in group_norm
    def test_traced_gives_the_same(self, case: Case) -> None:
        network = case.build().eval()
        x = image(1, 3, 61, 50)
        traced = torch.jit.trace(network, x)
        torch.testing.assert_close(traced(x), network(x), rtol=1e-4, atol=1e-4)
        other = image(2, 3, 90, 77)
        torch.testing.assert_close(traced(other), network(other), rtol=1e-4, atol=1e-4)

    @pytest.mark.slow
    def test_compiled_gives_the_same(self, case: Case) -> None:
        network = case.build().eval()
        x = image(1, 3, 64, 64)
        compiled = torch.compile(network, backend="aot_eager")
        torch.testing.assert_close(compiled(x), network(x), rtol=1e-4, atol=1e-4)

    def test_deep_copy_is_independent(self, case: Case) -> None:
        network = case.build()
        other = copy.deepcopy(network)
        with torch.no_grad():
            other.scores.bias.add_(1)
        assert not torch.equal(network.scores.bias, other.scores.bias)

    def test_an_unknown_stage_names_the_allowed_ones(self, case: Case) -> None:
        network = case.build()
        with pytest.raises(ValueError, match=f"one of {', '.join(network.stages)}; got 'last'"):
            network.set_stage("last")

    def test_wrong_input_says_what_is_needed(self, case: Case) -> None:
        network = case.build()
        with pytest.raises(ValueError, match=r"needs \(N, 3, H, W\), got \(1, 1, 32, 32\); repeat a grayscale"):
            network(torch.zeros(1, 1, 32, 32))
        with pytest.raises(ValueError, match=r"needs \(N, 3, H, W\), got \(3, 32, 32\)"):
            network(torch.zeros(3, 32, 32))

    @pytest.mark.usefixtures("no_network")
    def test_building_and_running_needs_no_network(self, case: Case) -> None:
        case.build().eval()(image(1, 3, 16, 16))

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # inside torch's own exporter
    def test_exported_gives_the_same_at_two_sizes(self, case: Case, tmp_path: Path) -> None:
        network = case.build().eval()
        auto = torch.export.Dim.AUTO
        program = torch.export.export(network, (image(2, 3, 64, 48),), dynamic_shapes=({0: auto, 2: auto, 3: auto},))
        torch.export.save(program, tmp_path / "network.pt2")
        loaded = torch.export.load(tmp_path / "network.pt2").module()
        for size in ((2, 3, 64, 48), (3, 3, 97, 130)):
            x = image(*size)
            torch.testing.assert_close(loaded(x), network(x), rtol=1e-4, atol=1e-4)

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # inside torch's own exporter
    @pytest.mark.skipif(importlib.util.find_spec("onnx") is None, reason="onnx is not installed")
    @pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
    def test_onnx_gives_the_same(self, case: Case, tmp_path: Path) -> None:
        import onnxruntime

        network = case.build().eval()
        x = image(1, 3, 64, 48)
        path = tmp_path / "network.onnx"
        torch.onnx.export(network, (x,), path, dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession(path)
        (result,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(result), network(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in nets.__all__ if isinstance(getattr(nets, name), type)])
def test_the_documented_constructor_is_the_real_one(name: str) -> None:
    network = getattr(nets, name)
    table = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    arguments = []
    for parameter in inspect.signature(network).parameters.values():
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        arguments.append(parameter.name + default)
    assert f"| `{name}` | `{', '.join(arguments)}` | {', '.join(network.stages)} |" in table


def test_the_networks_need_neither_bundles_nor_monai() -> None:
    code = "import sys; sys.modules['monai'] = None; from nets import Dilation10; import nets.weights, nets.summary"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(nets.__file__).parents[1])


def test_the_networks_can_be_a_target_of_a_config() -> None:
    assert nets.__all__ == ["FCN", "DeepLabV3", "Dilation10", "ValidUNet", "scaled"]
    config = {"_target_": "nets.Dilation10", "out_channels": 2, "width": 0.125, "stage": "front"}
    network = ConfigParser({"network_def": config}).get_parsed_content("network_def")
    assert isinstance(network, nets.Dilation10)
