"""Inferers: padding to the sizes a network takes, and averaging with the mirror image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor, nn

from engines.base.precision import autocast
from engines.inference.any_network import enlarged, logits_of, trial
from engines.inference.compiled import Compiled
from nets.checkpointing import checkpointing
from transforms.errors import UserError


def size_multiple(network: Any, channels: int = 3) -> int:
    """Return the number that height and width must be divisible by: MONAI's UNet cannot join maps of odd sizes.

    It is 1 for the networks of `nets`, which take any size. A stride per axis counts as the larger one. For a network
    without an attribute `strides` the number is found by trial, with images of `channels` channels.
    """
    inner = getattr(network, "module", network)
    strides = getattr(inner, "strides", None)
    return trial(inner, channels).multiple if strides is None else multiple_of(strides)


def multiple_of(strides: Iterable[int | Sequence[int]]) -> int:
    """Return the product of a network's strides."""
    return math.prod(stride if isinstance(stride, int) else max(stride) for stride in strides)


class PaddedInferer(SimpleInferer):
    """One forward pass; for networks that take only certain sizes, the image's last row and column are repeated.

    At least two cells remain at the lowest level: a single one has no variance for instance normalization.

    (N, C, H, W) → logits (N, classes, H, W), differentiable. A network that returns several logits during training
    (deep supervision) gives a list of all of them, enlarged to that size, for the loss.

    Args:
        precision: fp32, bf16 or fp16, see `engines.base.precision`; the logits are always fp32.
        checkpointing: keep less for the backward pass and recompute it, see `nets.checkpointing`.
        compiled: train with the compiled network (`torch.compile`); the network itself is not changed, and runs
            uncompiled where no gradient is kept, since whole images have many sizes.

    Raises:
        UserError: both `checkpointing` and `compiled`; on a call, no compiler is available.
    """

    def __init__(self, precision: str = "fp32", checkpointing: bool = False, compiled: bool = False) -> None:
        super().__init__()
        if checkpointing and compiled:
            raise UserError("--checkpointing true does not go with --compile true; give one of them")
        self.precision, self.checkpointing = precision, checkpointing
        self._compiled = Compiled() if compiled else None
        self.compiled = compiled

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Any:
        """Pad at the bottom and the right, run the network, crop the padding."""
        rows, columns = inputs.shape[-2:]
        multiple = size_multiple(network, inputs.shape[1])
        least = 2 * multiple if multiple > 1 else 1
        below, right = (max(-length % multiple, least - length) for length in (rows, columns))
        if below or right:
            inputs = F.pad(inputs, (0, right, 0, below), mode="replicate")
        inner = getattr(network, "module", network)
        trained = torch.is_grad_enabled()
        called = self._compiled.of(network, inputs) if self._compiled is not None and trained else network
        sparing = self.checkpointing and trained
        recomputing = checkpointing(inner) if sparing and isinstance(inner, nn.Module) else nullcontext()
        with autocast(self.precision, inputs.device), recomputing:
            output = super().__call__(inputs, called, *args, **kwargs)
        parts = [part.float() for part in logits_of(output, inputs, type(inner).__name__)]
        if len(parts) == 1 or not (torch.is_grad_enabled() and getattr(network, "training", False)):
            return parts[0][..., :rows, :columns]
        return [enlarged(part, inputs.shape[-2:])[..., :rows, :columns] for part in parts]


STRIP = 256
"""Rows averaged at a time."""


class MirrorAveraging(Inferer):
    """The mean of the class probabilities of an image and of its mirror image, which is mirrored back.

    Args:
        inferer: how each of the two is segmented.
        enabled: False uses the image only.
    """

    def __init__(self, inferer: Inferer, enabled: bool = True) -> None:
        super().__init__()
        self.inferer = inferer
        self.enabled = enabled

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """(N, C, H, W) → logits (N, classes, H, W): the logarithm of the mean probabilities."""
        logits: Tensor = self.inferer(inputs, network, *args, **kwargs)
        if not self.enabled:
            return logits
        mirrored: Tensor = self.inferer(inputs.flip(-1), network, *args, **kwargs)
        for top in range(0, logits.shape[-2], STRIP):
            here, there = (scores.narrow(-2, top, min(STRIP, logits.shape[-2] - top)) for scores in (logits, mirrored))
            there.copy_(_mean(here, there.flip(-1)))
        return mirrored


def _mean(logits: Tensor, others: Tensor) -> Tensor:
    """Return the logarithm of the mean of the probabilities."""
    return torch.logaddexp(logits.log_softmax(1), others.log_softmax(1)) - math.log(2)
