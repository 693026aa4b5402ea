"""Initial weights from a file: of ImageNet for the encoders, or of an earlier stage or another data set.

Sections 2.1 ("FCN32 will be initialized using VGG16 ImageNet pre-trained weights … FCN16 will be trained
using FCN32 weights"), 2.4 ("a reference image classification model pre-trained on the ImageNet dataset") and
II (Cityscapes first, then mammograms).

    report = init_weights(network, "vgg16-397923af.pth")
    logger.info("%s", report)

Three kinds of file are recognized by their keys:

- torchvision's `vgg16`, for FCN and Dilation10: its fully connected layers become `conv6_1` (7x7) and
  `conv6_2` (1x1).
- torchvision's `resnet18`, for DeepLabV3: convolutions are copied; scale and shift of a batch norm initialize
  the group norm in its place. Its running statistics have no counterpart.
- any state_dict of this package, bare or under "model", "network" or "state_dict": entries of the same name and
  shape. If the number of classes differs, the layers that depend on it keep their own initialization.

The first convolution is adapted to the image: from three channels to one by their sum, from one to three by a
third each. This is exact for a gray image repeated in three channels. Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nets.deeplabv3 import DeepLabV3
from nets.dilation10 import Dilation10
from nets.fcn import FCN
from nets.safe_load import not_finite, safe_load

State = dict[str, Tensor]

# Index of each convolution in torchvision's `vgg16().features` (poolings and ReLUs count, too).
VGG16 = {
    "features.0": "conv1_1",
    "features.2": "conv1_2",
    "features.5": "conv2_1",
    "features.7": "conv2_2",
    "features.10": "conv3_1",
    "features.12": "conv3_2",
    "features.14": "conv3_3",
    "features.17": "conv4_1",
    "features.19": "conv4_2",
    "features.21": "conv4_3",
    "features.24": "conv5_1",
    "features.26": "conv5_2",
    "features.28": "conv5_3",
    "classifier.0": "conv6_1",
    "classifier.3": "conv6_2",
}

# Parts of layer names in torchvision's `resnet18`, and in DeepLabV3.
RESNET18 = ((r"\blayer(\d)", r"block\1"), (r"\bbn(\d)", r"norm\1"), (r"\bdownsample\b", "shortcut"))

WRAPPERS = ("model", "network", "state_dict")


@dataclass(frozen=True)
class Report:
    """Result of `init_weights` for each key.

    Attributes:
        path: the file.
        sha256: digest of the file.
        kind: "torchvision vgg16", "torchvision resnet18" or "checkpoint".
        loaded: parameters loaded from the file.
        replaced: parameters with another shape in the file, for another number of classes; as initialized.
        missing: parameters that are not in the file; as initialized.
        unused: keys of the file that the network does not have.
    """

    path: Path
    sha256: str
    kind: str
    loaded: tuple[str, ...]
    replaced: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        """Return one line for the file and one per non-empty group, with all keys."""
        lines = [f"Initial weights: {self.kind} {self.path.name}, sha256 {self.sha256}"]
        for head, keys in (
            ("loaded", self.loaded),
            ("of another number of classes, as initialized", self.replaced),
            ("not in the file, as initialized", self.missing),
            ("in the file, not used", self.unused),
        ):
            if keys:
                lines.append(f"  {len(keys)} {head}: {', '.join(keys)}")
        return "\n".join(lines)


def init_weights(network: nn.Module, path: str | Path, sha256: str | None = None) -> Report:
    """Initialize `network` from the weights in `path`, in place.

    Args:
        network: any network of this package, or another module for its own state_dict.
        path: a file of `torch.save`; read with `weights_only=True`.
        sha256: if given, the required beginning of the file's digest (torchvision's file names end in it).

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file does not match `sha256`, holds no weights, is of another network, or its shapes differ
            by more than the number of classes (published weights need width=1.0). The network is then unchanged.
    """
    path = Path(path)
    digest = _digest(path)
    if sha256 is not None and not digest.startswith(sha256.lower()):
        raise ValueError(f"{path}: sha256 is {digest}, expected {sha256.lower()}; get the file again")
    state = _read(path)
    kind, names = _recognise(network, state, path)
    own = network.state_dict()
    found = {name: _fit(state[key], own[name]) for key, name in names.items() if name in own}
    replaced = _of_other_classes(network, found, own, path, kind)
    loaded = {name: value for name, value in found.items() if name not in replaced}
    if not loaded:
        raise ValueError(
            f"{path}: nothing in it fits {type(network).__name__}; it holds {_some(state)}, needed are {_some(own)}"
        )
    network.load_state_dict(own | loaded)
    return Report(
        path=path,
        sha256=digest,
        kind=kind,
        loaded=tuple(loaded),
        replaced=tuple(replaced),
        missing=tuple(name for name in own if name not in found),
        unused=tuple(key for key in state if names.get(key) not in own),
    )


def _digest(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"no weight file at {path}")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _read(path: Path) -> State:
    """Return the state_dict in the file, without its wrapper, if any."""
    try:
        content = safe_load(path)
    except ValueError as error:
        raise ValueError(f"{path} is not a file of weights that torch can read safely: {error}") from error
    if isinstance(content, Mapping):
        for wrapper in WRAPPERS:
            if isinstance(content.get(wrapper), Mapping):
                content = content[wrapper]
                break
        state = {str(key).removeprefix("module."): v for key, v in content.items() if isinstance(v, Tensor)}
        if unusable := not_finite(state):
            raise ValueError(f"{path}: {len(unusable)} weights are NaN or infinite, the first is {unusable[0]}")
        if state:
            return state
    raise ValueError(f"{path} holds no weights: expected a state_dict, bare or under {', '.join(WRAPPERS)}")


def _recognise(network: nn.Module, state: State, path: Path) -> tuple[str, dict[str, str]]:
    """Return the kind of file, and the network's name for each of its keys."""
    name = type(network).__name__
    if "features.0.weight" in state:
        if not isinstance(network, FCN | Dilation10):
            raise ValueError(f"{path} is a VGG, which initializes FCN and Dilation10, not {name}")
        if "features.1.weight" in state or "features.28.weight" not in state:
            raise ValueError(f"{path} is another VGG than torchvision's vgg16 (no batch norm, 13 convolutions)")
        return "torchvision vgg16", {key: _vgg_name(key) for key in state}
    if "layer1.0.conv1.weight" in state:
        if not isinstance(network, DeepLabV3):
            raise ValueError(f"{path} is a ResNet, which initializes DeepLabV3, not {name}")
        if "layer1.0.conv3.weight" in state or "layer1.2.conv1.weight" in state:
            raise ValueError(f"{path} is another ResNet than torchvision's resnet18")
        return "torchvision resnet18", {key: _resnet_name(key) for key in state}
    return "checkpoint", {key: key for key in state}


def _vgg_name(key: str) -> str:
    layer, _, parameter = key.rpartition(".")
    return f"{VGG16[layer]}.{parameter}" if layer in VGG16 else key


def _resnet_name(key: str) -> str:
    for theirs, ours in RESNET18:
        key = re.sub(theirs, ours, key)
    return key


def _fit(value: Tensor, like: Tensor) -> Tensor:
    """Return `value` in the shape of `like`, if exact: a flat matrix as kernel, three channels as one or back."""
    if value.dim() == 2 and like.dim() == 4 and value.shape[1] % like[0, 0].numel() == 0:
        value = value.view(len(value), -1, *like.shape[2:])
    if value.dim() == 4 and value.shape[0] == like.shape[0] and value.shape[2:] == like.shape[2:]:
        if (value.shape[1], like.shape[1]) == (3, 1):
            return value.sum(1, keepdim=True)
        if (value.shape[1], like.shape[1]) == (1, 3):
            return value.expand(-1, 3, -1, -1) / 3
    return value


def _of_other_classes(network: nn.Module, found: State, own: State, path: Path, kind: str) -> list[str]:
    """Return the names whose shapes differ, if the number of classes explains all; else raise ValueError."""
    differing = [name for name, value in found.items() if value.shape != own[name].shape]
    if not differing:
        return []
    first = differing[0]
    both = f"{first} is {tuple(found[first].shape)} in the file and {tuple(own[first].shape)} in the network"
    if kind != "checkpoint":
        raise ValueError(f"{path}: published weights have the paper's full width, build with width=1.0: {both}")
    changes = {change for name in differing for change in _changes(found[name].shape, own[name].shape)}
    expected = getattr(network, "out_channels", None)  # other networks may lack it
    if len(changes) != 1 or (expected is not None and next(iter(changes))[1] != expected):
        raise ValueError(
            f"{path}: {len(differing)} shapes differ by more than the number of classes "
            f"(another width, or another network): {both}; all: {', '.join(differing)}"
        )
    return differing


def _changes(theirs: torch.Size, ours: torch.Size) -> list[tuple[int, int]]:
    """Return the sizes that differ, as (in the file, in the network)."""
    if len(theirs) != len(ours):
        return [(len(theirs), -1)]
    return [pair for pair in zip(theirs, ours, strict=True) if pair[0] != pair[1]]


def _some(state: State) -> str:
    names = list(state)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
