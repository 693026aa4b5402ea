"""A network's layers as the paper tabulates them (Tables 2 to 6), computed from the built network.

    python -m nets.summary dilation10 [--size 1400] [--classes 19] [--width 1.0]

Nothing is typed by hand: the network is built and run on torch's meta device, which knows shapes but holds no
numbers, and hooks record the maps of each layer. So full width takes no time and no memory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nets.deeplabv3 import DeepLabV3
from nets.dilation10 import Dilation10
from nets.fcn import FCN
from nets.valid_unet import ValidUNet

WHOLE_IMAGE = float("inf")


@dataclass(frozen=True)
class Row:
    """One layer, in the columns of the paper's tables. Sizes and the receptive field hold for rows and columns."""

    name: str
    layer: int
    kernel_size: int
    stride: int
    padding: str
    dilation: int
    input_size: int
    output_size: int
    input_maps: int
    output_maps: int
    receptive_field: float
    parameters: int


@dataclass(frozen=True)
class Field:
    """Receptive field of a value of a map: `extent` pixels of the input, `step` pixels from its neighbor's."""

    extent: float
    step: float


class _Tracker(TorchFunctionMode):
    """Passes the receptive field of the arguments of every torch function on to its results."""

    def __init__(self) -> None:
        super().__init__()
        self._fields: dict[int, Field] = {}
        self._alive: list[Tensor] = []  # a freed storage could be confused with its successor

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            parts = [t for a in args for t in (a if isinstance(a, list | tuple) else [a]) if isinstance(t, Tensor)]
            known = [self.of(part) for part in parts]
            seen = [field for field in known if field is not None]
            if seen and self.of(result) is None:
                widest = max(seen, key=lambda field: field.extent)
                whole = getattr(func, "__name__", "") == "mean"
                self.note(result, Field(WHOLE_IMAGE, widest.step) if whole else widest)
        return result

    def of(self, x: Tensor) -> Field | None:
        return self._fields.get(x.untyped_storage()._cdata)

    def note(self, x: Tensor, field: Field) -> None:
        self._alive.append(x)
        self._fields[x.untyped_storage()._cdata] = field


def summarise(network: nn.Module, call: Callable[[Tensor], Any], x: Tensor, first: int = 1) -> list[Row]:
    """Return the convolutions and poolings of `network` that `call(x)` runs, in order.

    The receptive field is counted from `x`, whose own is 1, and the layers from `first`. `call` is the network or
    one of its methods.
    """
    rows: list[Row] = []
    names = {module: name for name, module in network.named_modules()}
    tracker = _Tracker()

    def note(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        source = tracker.of(args[0])
        if source is None:
            raise ValueError(f"{names[module]} has an input that does not come from the image")
        field = _through(module, source)
        tracker.note(output, field)
        rows.append(_row(names[module], first + len(rows), module, args[0], output, field))

    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d)
    hooks = [m.register_forward_hook(note) for m in network.modules() if isinstance(m, kinds)]
    try:
        with tracker, torch.no_grad():
            tracker.note(x, Field(1, 1))
            call(x)
    finally:
        for hook in hooks:
            hook.remove()
    return rows


def _through(module: nn.Module, source: Field) -> Field:
    """Return the receptive field after a layer whose input has `source`."""
    kernel, stride, dilation = (_one(getattr(module, name)) for name in ("kernel_size", "stride", "dilation"))
    if isinstance(module, nn.ConvTranspose2d):
        values = -(-kernel // stride)  # values of the input that one value of the output can see
        return Field(source.extent + (values - 1) * source.step, source.step / stride)
    return Field(source.extent + (kernel - 1) * dilation * source.step, source.step * stride)


def _row(name: str, layer: int, module: nn.Module, x: Tensor, y: Tensor, field: Field) -> Row:
    kernel, stride, dilation = (_one(getattr(module, name)) for name in ("kernel_size", "stride", "dilation"))
    transposed = isinstance(module, nn.ConvTranspose2d)
    # t_conv_1 and t_conv_2 of FCN get an additional cell on each side and cut it off again: see nets/fcn.py.
    border = 2 if transposed and _one(module.padding) > 1 else 0
    before, after = x.shape[-1] - border, y.shape[-1]
    same = after == (before * stride if transposed else -(-before // stride))
    if isinstance(module, nn.MaxPool2d):  # at an even size both paddings give the same
        same = module.ceil_mode or _one(module.padding) > 0
    return Row(
        name=name,
        layer=layer,
        kernel_size=kernel,
        stride=stride,
        padding="SAME" if same else "VALID",
        dilation=dilation,
        input_size=before,
        output_size=after,
        input_maps=x.shape[1],
        output_maps=y.shape[1],
        receptive_field=field.extent,
        parameters=sum(p.numel() for p in module.parameters()),
    )


def _one(value: Any) -> int:
    """Return a number that torch may store as a pair of equal ones."""
    return int(value[0]) if isinstance(value, tuple) else int(value)


Section = tuple[str, list[Row]]


def dilation10(classes: int, width: float, size: int) -> tuple[nn.Module, list[Section]]:
    """Return Tables 5 and 6; the paper counts the receptive field of the context module from its own input."""
    network = Dilation10(classes, width=width).eval()
    front = summarise(network, network.front, torch.empty(1, 3, size, size))
    cells = front[-1].output_size
    context = summarise(network, network.context, torch.empty(1, classes, cells, cells), first=len(front) + 1)
    return network, [("Table 5. Front module", front), ("Table 6. Context module", context)]


def fcn(classes: int, width: float, size: int) -> tuple[nn.Module, list[Section]]:
    """Return Tables 2 and 3."""
    network = FCN(classes, width=width).eval()
    rows = summarise(network, network, torch.empty(1, 3, size, size))
    encoder = [row for row in rows if not row.name.startswith(("t_conv", "score_"))]
    decoder = [row for row in rows if row not in encoder]
    return network, [("Table 2. Encoder", encoder), ("Table 3. Decoder, and the skips", decoder)]


def valid_unet(classes: int, width: float, size: int) -> tuple[nn.Module, list[Section]]:
    """Return Table 4, and the decoder described in the text."""
    network = ValidUNet(classes, width=width, padded=False).eval()
    rows = summarise(network, network, torch.empty(1, 3, size, size))
    cut = next(number for number, row in enumerate(rows) if row.name.startswith("t_conv"))
    return network, [("Table 4. Encoder", rows[:cut]), ("Decoder", rows[cut:])]


def deeplabv3(classes: int, width: float, size: int) -> tuple[nn.Module, list[Section]]:
    """Return Figure 1, and the pyramid module described in section 2.4."""
    network = DeepLabV3(classes, width=width).eval()
    return network, [("Figure 1 and the ASPP", summarise(network, network, torch.empty(1, 3, size, size)))]


def unet(classes: int, width: float, size: int) -> tuple[nn.Module, list[Section]]:
    """Return MONAI's U-Net with the five levels of Table 4, as built by bundles/unet."""
    from monai.networks.nets import UNet

    from nets.vgg import scaled

    channels = [scaled(count, width) for count in (64, 128, 256, 512, 1024)]
    network = UNet(2, 3, classes, channels, (2, 2, 2, 2), num_res_units=2, act="RELU", norm="INSTANCE").eval()
    return network, [("monai.networks.nets.UNet", summarise(network, network, torch.empty(1, 3, size, size)))]


# The network and the image size of its table (for U-Net, the nearest that MONAI's takes).
NETWORKS: dict[str, tuple[Callable[[int, float, int], tuple[nn.Module, list[Section]]], int]] = {
    "dilation10": (dilation10, 1400),
    "fcn": (fcn, 256),
    "unet": (unet, 576),
    "valid_unet": (valid_unet, 572),
    "deeplabv3": (deeplabv3, 769),
}


def tables(
    name: str, classes: int = 19, width: float = 1.0, size: int | None = None
) -> tuple[nn.Module, list[Section]]:
    """Return the network `name` on the meta device, and its tables for `size` x `size` images (None: the paper's)."""
    build, papers_size = NETWORKS[name]
    with torch.device("meta"):
        return build(classes, width, size or papers_size)


def render(sections: Sequence[Section]) -> str:
    """Return the sections as text, with the columns of the paper and the parameters of each layer."""
    heads = [field.name.replace("_", " ") for field in fields(Row)]
    parts = []
    for title, rows in sections:
        cells = [heads, *([_cell(getattr(row, field.name)) for field in fields(Row)] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
        parts.append("\n".join([title, "", *(line.rstrip() for line in lines)]))
    return "\n\n".join(parts)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "image" if value == WHOLE_IMAGE else f"{value:g}"
    return str(value)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables of one network."""
    parser = argparse.ArgumentParser(prog="python -m nets.summary", description="The paper's table of a network.")
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--width", type=float, default=1.0, help="factor on the hidden channel counts (1.0: paper)")
    parser.add_argument("--size", type=int, help="side of the image in pixels (the paper's by default)")
    parser.add_argument("--classes", type=int, default=19, help="number of classes (19: Cityscapes)")
    options = parser.parse_args(argv)
    try:
        network, sections = tables(options.network, options.classes, options.width, options.size)
    except ValueError as error:
        parser.error(str(error))
    total = sum(p.numel() for p in network.parameters())
    sys.stdout.write(f"{render(sections)}\n\ntotal parameters: {total:,}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
