"""Memory of a training step, counted before it runs, and the number of crops that fit at a time.

A forward and a backward pass run on tensors that know shapes but hold no numbers (torch's FakeTensorMode); the bytes of
their results count until they are freed, as in `engines.inference.tiling.memory` for a forward pass. Weights, gradients
and the optimizer's state are added. Memory that the library behind a convolution's backward pass allocates itself is
not counted.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from engines.base.loading import AUTO, on_gpu
from engines.inference.inferers import PaddedInferer, size_multiple
from engines.inference.tiling.memory import GB, LiveBytes, default_memory, free_memory, is_out_of_memory, size_of
from engines.training.plan import Stage
from nets.shared_copy import shared_copy
from transforms.crops import rows_and_columns
from transforms.errors import UserError

logger = logging.getLogger("mammoseg")

CHANNELS = 3
USED = 0.8
"""Share of the available memory to use: the rest is for allocations that are not counted."""
STATES = 2
"""Maximum number of values that an optimizer keeps per weight: AdamW's."""


@dataclass(frozen=True)
class StepMemory:
    """Bytes of a step: `fixed`, and `per_crop` per crop of a forward pass."""

    fixed: int
    per_crop: int

    def of(self, crops: int) -> int:
        """Return the bytes with so many crops at a time."""
        return self.fixed + crops * self.per_crop


def step_memory(network: nn.Module, size: tuple[int, int], inferer: PaddedInferer) -> StepMemory:
    """Count a step with crops of `size` (rows, columns) in the network's current stage.

    Args:
        network: on any device; it is not changed, and no value is copied.
        size: size of the crops.
        inferer: runs the network in training; its precision and checkpointing matter.
    """
    multiple = size_multiple(network, CHANNELS)
    one, two = (_peak(network, (count, CHANNELS, *size), inferer, multiple) for count in (1, 2))
    weights = sum(size_of(p) for p in network.parameters())
    trained = sum(size_of(p) for p in network.parameters() if p.requires_grad)
    per_crop = max(1, two - one)
    return StepMemory(max(0, one - per_crop) + weights + STATES * trained, per_crop)


def _peak(network: nn.Module, shape: tuple[int, ...], inferer: PaddedInferer, multiple: int) -> int:
    live = LiveBytes()
    with FakeTensorMode():

        def fake(name: str, value: Tensor) -> Tensor:
            made = torch.empty(value.shape, dtype=value.dtype)
            return nn.Parameter(made, value.requires_grad) if isinstance(value, nn.Parameter) else made

        copied = shared_copy(network, fake, watched=False).train()
        if not hasattr(copied, "strides"):  # avoids a trial of sizes, which would be counted
            copied.strides = (multiple,)  # type: ignore[assignment]
        image, label = torch.empty(shape), torch.zeros(shape[0], *shape[2:], dtype=torch.long)
        with live:
            logits = inferer(image, copied)
            parts = [logits] if isinstance(logits, Tensor) else logits
            total = torch.stack([F.cross_entropy(part, label) for part in parts]).sum()
            del logits, parts
            total.backward()
    return live.peak + size_of(image) + size_of(label)


def micro_batch_size(
    choice: Any, batch_size: int, network: nn.Module, plan: Sequence[Stage], inferer: PaddedInferer, device: Any
) -> int:
    """Return crops per forward pass: the largest divisor of the batch up to `choice`; for `auto` the largest that fits.

    For `auto` the largest crops of the plan are counted. On a GPU a step is then tried, with the next smaller number as
    long as memory runs out.

    Raises:
        UserError: not even one crop fits.
    """
    if choice != AUTO:
        most = min(batch_size, int(choice))
        fitting = max(n for n in range(1, most + 1) if batch_size % n == 0)
        if fitting < most:
            logger.info("%d of %d crops at a time, since %d do not divide the batch.", fitting, batch_size, most)
        return fitting
    device = torch.device(device)
    size = max(
        (rows_and_columns(part.crop_size) for stage in plan for part in (stage, stage.fine_tuning) if part is not None),
        key=lambda sides: sides[0] * sides[1],
    )
    try:
        counted = step_memory(network, size, inferer)
    except Exception as error:  # an arbitrary network may raise anything
        why = f"a step of {type(network).__name__} cannot be counted ({' '.join(str(error).split())[:200]})"
        raise UserError(f"--micro_batch_size auto: {why}; give a number") from error
    room = USED * (2 * default_memory(device) if on_gpu(device) else free_memory())
    fit = [n for n in range(1, batch_size + 1) if batch_size % n == 0 and counted.of(n) <= room]
    if on_gpu(device):
        while fit and not _runs(network, (fit[-1], CHANNELS, *size), inferer, device):
            fit.pop()
    if not fit:
        needed = (
            f"a crop of {size[0]} x {size[1]} needs {counted.of(1) / GB:.1f} GB, and {room / GB:.1f} GB are available"
        )
        raise UserError(
            f"--micro_batch_size auto: {needed}; give --checkpointing true, a smaller --crop_size or --width"
        )
    logger.info("%d of %d crops at a time: %.1f GB by count.", fit[-1], batch_size, counted.of(fit[-1]) / GB)
    return fit[-1]


def _runs(network: nn.Module, shape: tuple[int, ...], inferer: Callable[..., Any], device: torch.device) -> bool:
    """Return whether a forward and a backward pass of a copy fit; the state of random numbers is not changed."""
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            logits = inferer(torch.zeros(shape, device=device), copy.deepcopy(network).train())
            (logits if isinstance(logits, Tensor) else logits[0]).sum().backward()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return True
