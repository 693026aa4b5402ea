"""Input sizes and outputs of an arbitrary network, found by trial.

Such a network need only take images (N, C, H, W) and return logits (N, classes, H, W) for some sizes, which are found
by trial. Several outputs, as for deep supervision, are lists or tuples of logits, one of them of full size.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.inference.tiling.memory import on_meta
from nets import ValidUNet
from nets.resize import ALIGN_CORNERS
from nets.stages import StagedNetwork
from transforms.errors import UserError

logger = logging.getLogger("mammoseg")

MULTIPLES = (1, 2, 4, 8, 16, 32, 64, 128)
"""Numbers that the sides of an image may have to be divisible by."""

LEAST = 64
"""Smallest side of an image in a trial."""


@dataclass(frozen=True)
class Trial:
    """Input sizes and outputs of a network.

    Attributes:
        multiple: the sides of its input images must be divisible by it.
        full: index of the output of full size among several; None for a single output.
    """

    multiple: int = 1
    full: int | None = None


_known: WeakKeyDictionary[nn.Module, dict[int, Trial]] = WeakKeyDictionary()


def trial(network: Any, channels: int = 3) -> Trial:
    """Find the sizes a network takes by running it on images of several sizes, on the meta device if possible.

    The networks of `nets` take any size, and functions are assumed to. The network is not changed.
    """
    if not isinstance(network, nn.Module) or isinstance(network, StagedNetwork | ValidUNet):
        return Trial()
    known = _known.setdefault(network, {})
    if channels not in known:
        known[channels] = _on_meta(network, channels) or _for_real(network, channels) or Trial()
    return known[channels]


def _on_meta(network: nn.Module, channels: int) -> Trial | None:
    if isinstance(network, torch.jit.ScriptModule):
        return None
    try:
        meta_network = on_meta(network).eval()
    except Exception as error:  # an arbitrary network may raise anything
        logger.debug("%s cannot be copied to the meta device: %s", type(network).__name__, error)
        return None
    return _try(meta_network, torch.empty(1, channels, 1, 1, device="meta"), MULTIPLES)


def _for_real(network: nn.Module, channels: int) -> Trial | None:
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    try:
        copied = copy.deepcopy(network).eval()
    except Exception as error:
        logger.debug("%s cannot be copied: %s", type(network).__name__, error)
        return None
    return _try(copied, torch.zeros(1, channels, 1, 1, device=device), MULTIPLES[:7])


def _try(network: nn.Module, pixel: Tensor, multiples: Sequence[int]) -> Trial | None:
    for multiple in multiples:
        cells = max(3, -(-LEAST // multiple) | 1)  # odd, so that no larger multiple divides the sides
        size = multiple * cells, multiple * (cells + 2)
        try:
            with torch.no_grad():
                output = network(pixel.expand(-1, -1, *size))
        except Exception as error:
            logger.debug("%s does not take %d x %d pixels: %s", type(network).__name__, *size, error)
            continue
        for place, part in enumerate(outputs_of(output)):
            if isinstance(part, Tensor) and part.dim() == 4 and part.shape[-2:] == size:
                return Trial(multiple, place if isinstance(output, list | tuple) else None)
    return None


def outputs_of(output: Any) -> list[Any]:
    """Return the outputs of a network as a list; MONAI's DynUNet stacks them: (N, outputs, classes, H, W)."""
    if isinstance(output, list | tuple):
        return list(output)
    if isinstance(output, Tensor) and output.dim() == 5:
        return list(output.unbind(1))
    return [output]


def logits_of(output: Any, image: Tensor, name: str) -> list[Tensor]:
    """Return the outputs of a network for `image`, largest first, which is of full size.

    Raises:
        UserError: one is not logits (N, classes, H, W), they have several class counts, or none is of full size.
    """
    parts = outputs_of(output)
    shapes = ", ".join(str(tuple(p.shape)) if isinstance(p, Tensor) else type(p).__name__ for p in parts)
    got = f"{name} turns images {tuple(image.shape)} into {shapes}"
    if not parts or not all(isinstance(part, Tensor) and part.dim() == 4 for part in parts):
        raise UserError(f"{got}; expected logits (N, classes, H, W), or a list of them; choose another network")
    if len({part.shape[1] for part in parts}) > 1:
        raise UserError(f"{got}; expected the same number of classes in all of them; choose another network")
    parts.sort(key=lambda part: -part.shape[-1] * part.shape[-2])
    if parts[0].shape[-2:] != image.shape[-2:]:
        raise UserError(f"{got}; expected logits of the image's height and width; choose another network")
    return parts


def enlarged(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Return the logits of a smaller output at full size."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=ALIGN_CORNERS)


def return_full_size(network: nn.Module) -> None:
    """Make a network with several outputs return the one of full size in evaluation, for scores, export and servers."""
    full = trial(network).full
    if full is not None:
        network.register_forward_hook(partial(_full_size, full))


def _full_size(full: int, network: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
    """Forward hook; it does not inspect sizes, which would tie an exported network to one size."""
    return output[full] if not network.training and isinstance(output, list | tuple) else output
