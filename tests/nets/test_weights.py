"""Weight files in the published key layouts, and our own checkpoints."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nets import FCN, DeepLabV3, Dilation10, ValidUNet
from nets.weights import init_weights

WIDTH = 0.125

# torchvision vgg16: number of the convolution in `features`, input channels, output channels.
FEATURES = {
    0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256),
    17: (256, 512), 19: (512, 512), 21: (512, 512), 24: (512, 512), 26: (512, 512), 28: (512, 512),
}  # fmt: skip
NAMES = "conv1_1 conv1_2 conv2_1 conv2_2 conv3_1 conv3_2 conv3_3 conv4_1 conv4_2 conv4_3 conv5_1 conv5_2 conv5_3"


def cheap(*shape: int) -> Tensor:
    """Random along all but the first dimension, and the same for each of it: a large tensor in a small file."""
    return torch.randn(1, *shape[1:]).expand(shape) if len(shape) > 1 else torch.randn(shape)


def vgg16() -> dict[str, Tensor]:
    torch.manual_seed(1)
    state = {}
    for number, (ins, outs) in FEATURES.items():
        state[f"features.{number}.weight"] = cheap(outs, ins, 3, 3)
        state[f"features.{number}.bias"] = cheap(outs)
    for number, (ins, outs) in {0: (25088, 4096), 3: (4096, 4096), 6: (4096, 1000)}.items():
        state[f"classifier.{number}.weight"] = cheap(outs, ins)
        state[f"classifier.{number}.bias"] = cheap(outs)
    return state


def resnet18() -> dict[str, Tensor]:
    torch.manual_seed(2)
    state: dict[str, Tensor] = {"conv1.weight": torch.randn(64, 3, 7, 7)}

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.{part}"] = torch.rand(channels)
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    norm("bn1", 64)
    ins = 64
    for layer, outs in enumerate((64, 128, 256, 512), start=1):
        for unit in (0, 1):
            state[f"layer{layer}.{unit}.conv1.weight"] = torch.randn(outs, ins, 3, 3)
            norm(f"layer{layer}.{unit}.bn1", outs)
            state[f"layer{layer}.{unit}.conv2.weight"] = torch.randn(outs, outs, 3, 3)
            norm(f"layer{layer}.{unit}.bn2", outs)
            if unit == 0 and layer > 1:
                state[f"layer{layer}.0.downsample.0.weight"] = torch.randn(outs, ins, 1, 1)
                norm(f"layer{layer}.0.downsample.1", outs)
            ins = outs
    state["fc.weight"], state["fc.bias"] = torch.randn(1000, 512), torch.randn(1000)
    return state


def save(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(vgg16(), tmp_path_factory.mktemp("weights") / "vgg16.pth")


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(resnet18(), tmp_path_factory.mktemp("weights") / "resnet18.pth")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """At full width the random start takes seconds, and is overwritten here."""
    monkeypatch.setattr("nets.initialise.he_normal", lambda conv: None)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("make", [FCN, Dilation10], ids=lambda make: make.__name__)
@pytest.mark.parametrize("in_channels", [1, 3])
def test_vgg16(make: type[nn.Module], in_channels: int, vgg_file: Path) -> None:
    theirs = torch.load(vgg_file, weights_only=True)
    network = make(4, in_channels=in_channels)
    scores = network.scores.weight.clone()
    report = init_weights(network, vgg_file)
    state = network.state_dict()
    for name, number in zip(NAMES.split(), FEATURES, strict=True):
        weight = theirs[f"features.{number}.weight"]
        if name == "conv1_1" and in_channels == 1:
            weight = weight.sum(1, keepdim=True)
        assert torch.equal(state[f"{name}.weight"], weight), name
        assert torch.equal(state[f"{name}.bias"], theirs[f"features.{number}.bias"]), name
    # a fully connected layer sees its input flattened from (512, 7, 7)
    one = state["conv6_1.weight"][17]
    assert torch.equal(one.flatten(), theirs["classifier.0.weight"][17])
    assert torch.equal(state["conv6_2.weight"][:, :, 0, 0], theirs["classifier.3.weight"])
    assert torch.equal(network.scores.weight, scores)
    assert report.kind == "torchvision vgg16"
    assert len(report.loaded) == 30
    assert report.replaced == ()
    assert "scores.weight" in report.missing
    assert report.unused == ("classifier.6.weight", "classifier.6.bias")


@pytest.mark.parametrize("in_channels", [1, 3])
def test_resnet18(in_channels: int, resnet_file: Path) -> None:
    theirs = torch.load(resnet_file, weights_only=True)
    network = DeepLabV3(4, in_channels=in_channels)
    report = init_weights(network, resnet_file)
    state = network.state_dict()
    stem = theirs["conv1.weight"]
    assert torch.equal(state["conv1.weight"], stem if in_channels == 3 else stem.sum(1, keepdim=True))
    for theirs_name, ours in {
        "bn1.bias": "norm1.bias",
        "layer1.0.conv1.weight": "block1.0.conv1.weight",
        "layer4.1.conv2.weight": "block4.1.conv2.weight",
        "layer3.0.downsample.0.weight": "block3.0.shortcut.0.weight",
        "layer3.0.downsample.1.weight": "block3.0.shortcut.1.weight",
        "layer2.1.bn2.weight": "block2.1.norm2.weight",
    }.items():
        assert torch.equal(state[ours], theirs[theirs_name]), ours
    assert len(report.loaded) == 20 + 2 * 20  # convolutions, and scale and shift of their norms
    assert {key.split(".")[0] for key in report.missing} == {"aspp", "scores"}
    rest = ("running_mean", "running_var", "num_batches_tracked", "fc.weight", "fc.bias")
    assert len(report.unused) == 3 * 20 + 2
    assert all(key.endswith(rest) for key in report.unused)


def test_one_channel_sees_what_three_equal_ones_do(resnet_file: Path) -> None:
    three, one = DeepLabV3(2).eval(), DeepLabV3(2, in_channels=1).eval()
    init_weights(three, resnet_file)
    gray = torch.rand(1, 1, 24, 24)
    expected = three.conv1(gray.expand(-1, 3, -1, -1))
    init_weights(one, resnet_file)
    torch.testing.assert_close(one.conv1(gray), expected, rtol=1e-4, atol=1e-4)


def test_from_one_channel_to_three_and_to_one_again(tmp_path: Path) -> None:
    one = FCN(2, in_channels=1, width=WIDTH).eval()
    three = FCN(2, in_channels=3, width=WIDTH).eval()
    init_weights(three, save(one.state_dict(), tmp_path / "one.pt"))
    gray = torch.rand(1, 1, 40, 40)
    torch.testing.assert_close(three(gray.expand(-1, 3, -1, -1)), one(gray), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"network": s, "epoch": 3}, lambda s: {"model": s}])
def test_the_previous_stage(tmp_path: Path, wrap) -> None:
    before = Dilation10(3, width=WIDTH, stage="front").eval()
    torch.manual_seed(8)
    after = Dilation10(3, width=WIDTH, stage="context").eval()
    report = init_weights(after, save(wrap(before.state_dict()), tmp_path / "front.pt"))
    assert report.kind == "checkpoint"
    assert not report.replaced + report.missing + report.unused
    image = torch.randn(1, 3, 40, 40)
    torch.testing.assert_close(after(image), before(image), rtol=0, atol=1e-6)


def test_a_checkpoint_of_parallel_training(tmp_path: Path) -> None:
    network = FCN(3, width=WIDTH)
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    assert not init_weights(FCN(3, width=WIDTH), save(state, tmp_path / "ddp.pt")).missing


@pytest.mark.parametrize("make", [FCN, Dilation10, DeepLabV3, ValidUNet], ids=lambda make: make.__name__)
def test_another_number_of_classes(make: type[nn.Module], tmp_path: Path) -> None:
    """Cityscapes, then mammograms: all but the layers of class scores."""
    before, after = make(19, width=WIDTH), make(5, width=WIDTH)
    fresh = {key: value.clone() for key, value in after.state_dict().items()}
    report = init_weights(after, save(before.state_dict(), tmp_path / "cityscapes.pt"))
    depends = {key for key, value in before.state_dict().items() if value.shape != fresh[key].shape}
    assert set(report.replaced) == depends
    assert "scores.weight" in depends
    for key, value in after.state_dict().items():
        assert torch.equal(value, fresh[key] if key in depends else before.state_dict()[key]), key
    assert f"{len(depends)} of another number of classes, as initialized: " in str(report)


def test_a_context_of_other_length_lists_what_is_missing(tmp_path: Path) -> None:
    before = Dilation10(3, width=WIDTH, context_dilations=(1, 2))
    report = init_weights(Dilation10(3, width=WIDTH, context_dilations=(1,)), save(before.state_dict(), tmp_path / "a"))
    assert report.unused == ("context2.weight", "context2.bias")
    report = init_weights(Dilation10(3, width=WIDTH), save(before.state_dict(), tmp_path / "b"))
    assert len(report.missing) == 16
    assert "16 not in the file, as initialized: context3.weight" in str(report)


@pytest.mark.parametrize("make", [FCN, Dilation10, DeepLabV3], ids=lambda make: make.__name__)
def test_published_weights_need_full_width(make: type[nn.Module], vgg_file: Path, resnet_file: Path) -> None:
    network = make(4, width=0.5)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=r"build with width=1\.0: conv1(_1)?\.weight is \(64, 3, .*network"):
        init_weights(network, resnet_file if make is DeepLabV3 else vgg_file)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("make", "content", "message"),
    [
        (DeepLabV3, vgg16, "is a VGG, which initializes FCN and Dilation10, not DeepLabV3"),
        (FCN, resnet18, "is a ResNet, which initializes DeepLabV3, not FCN"),
        (ValidUNet, vgg16, "not ValidUNet"),
        (FCN, lambda: vgg16() | {"features.1.weight": torch.ones(64)}, "another VGG than torchvision's vgg16"),
        (DeepLabV3, lambda: resnet18() | {"layer1.0.conv3.weight": torch.ones(1)}, "another ResNet"),
        (FCN, lambda: {"encoder.weight": torch.ones(3)}, "nothing in it fits FCN; it holds encoder.weight, needed"),
        (FCN, lambda: {"epoch": 3}, "holds no weights: expected a state_dict, bare or under model, network"),
        (FCN, lambda: [1, 2], "holds no weights"),
        (FCN, lambda: FCN(4, width=0.25).state_dict(), "differ by more than the number of classes"),
        (FCN, lambda: FCN(4, in_channels=2, width=WIDTH).state_dict(), "differ by more than the number of classes"),
        (DeepLabV3, lambda: Path("a"), "not a file of weights that torch can read safely"),
    ],
)
def test_what_does_not_fit_is_refused(make: type[nn.Module], content, message: str, tmp_path: Path) -> None:
    path = save(content(), tmp_path / "file.pt")
    with pytest.raises(ValueError, match=message):
        init_weights(make(4, width=WIDTH), path)


def test_no_file_and_no_torch_file(tmp_path: Path) -> None:
    network = FCN(2, width=WIDTH)
    with pytest.raises(FileNotFoundError, match=r"no weight file at .*absent\.pth"):
        init_weights(network, tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(ValueError, match="torch can read safely"):
        init_weights(network, tmp_path / "text.pth")


def test_the_digest_is_reported_and_checked(tmp_path: Path) -> None:
    network = FCN(2, width=WIDTH)
    path = save(network.state_dict(), tmp_path / "a.pt")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert init_weights(network, path, sha256=digest[:8]).sha256 == digest
    with pytest.raises(ValueError, match=f"sha256 is {digest}, expected 00000000"):
        init_weights(network, path, sha256="00000000")
