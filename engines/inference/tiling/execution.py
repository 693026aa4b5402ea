"""Execution of a network's steps over a whole image, in tiles that fit into memory."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from engines.base.precision import autocast
from engines.inference.finite import finite
from engines.inference.tiling.grid import ReceptiveField, UniformBackground, cheapest
from engines.inference.tiling.memory import is_out_of_memory, size_of
from engines.inference.tiling.steps import Run, Step, Store, Tileable, Write, run_step, runs
from nets import ValidUNet
from nets.resize import upsample
from transforms.decision import Decision

logger = logging.getLogger("mammoseg")

STRIP = 32
"""Rows of a score map enlarged at a time."""
MOST_LABELS = 256


@dataclass(frozen=True)
class Devices:
    """Devices for computing and storing, with the form of results.

    Attributes:
        device: device of the network.
        store: device on which maps and results are assembled.
        memory: bytes for one forward pass on `device`, besides parameters, image and result.
        labels: results are class numbers instead of logits.
        decision: rule that chooses the class; None takes the most likely class.
        precision: precision of computation in tiles; the maps that are kept are fp32.
    """

    device: torch.device
    store: torch.device
    memory: int
    labels: bool
    decision: Decision | None = None
    precision: str = "fp32"


class Result:
    """Logits (N, classes, H, W), or labels uint8 (N, 1, H, W), assembled from parts."""

    def __init__(self, size: tuple[int, ...], devices: Devices) -> None:
        self._store = Store([size], devices.store)
        self._labels, self._decision = devices.labels, devices.decision

    def write(self, number: int, logits: Tensor, at: tuple[slice, slice]) -> None:
        """Insert the logits of one part."""
        self._store.write(0, labels_of(logits, self._decision) if self._labels else logits, at)

    def finished(self) -> Tensor:
        """Return the whole result."""
        return self._store.finished()[0]


def labels_of(logits: Tensor, decision: Decision | None = None) -> Tensor:
    """Return the most likely class, or that of a decision: (N, classes, H, W) → uint8 (N, 1, H, W).

    Raises ValueError for more than 256 classes, UserError for a score that is NaN or infinite.
    """
    if logits.shape[1] > MOST_LABELS:
        raise ValueError(f"labels are 8-bit numbers, at most {MOST_LABELS} classes; got {logits.shape[1]}")
    logits = finite(logits)
    if decision is not None:
        return torch.stack([decision(scores) for scores in logits])
    return logits.max(dim=1, keepdim=True).indices.to(torch.uint8)  # many times faster than argmax


def run_tiles(network: nn.Module, steps: Sequence[Step], image: Tensor, devices: Devices, skip_air: bool) -> Tensor:
    """Run the whole pass of a network for which `can_tile` is true: (N, C, H, W) → see `Result`."""
    field = ReceptiveField(UniformBackground(image) if skip_air else None)
    if isinstance(network, ValidUNet):
        (run,) = (lowered(run, devices) for run in runs(network))
        height, width = (steps[0].geometry.answers(length) for length in image.shape[-2:])
        result = Result((height, width), devices)
        run_in_memory(steps[0], run, image, field, devices, result.write)
        return result.finished()
    kept: list[Tensor] = []
    source = image
    for step, run in zip(steps, runs(network), strict=True):
        store = Store(step.sizes(source.shape[-2:]), devices.store, channels_last=devices.device.type == "cpu")
        run_in_memory(step, lowered(run, devices), source, field, devices, store.write, sum(map(size_of, kept)))
        *skips, source = store.finished()
        kept += skips
        field = step.field(field)
    parts = cast(Tileable, network)
    scores = parts.join(*(part.to(devices.device) for part in (*kept, source)))
    return enlarge(scores, parts.tile_stride, (image.shape[-2], image.shape[-1]), devices)


def lowered(run: Run, devices: Devices) -> Run:
    """Return the step computed in the precision of `devices`, with results in fp32."""
    if devices.precision == "fp32":
        return run

    def computed(x: Tensor) -> tuple[Tensor, ...]:
        with autocast(devices.precision, devices.device):
            return tuple(each.float() for each in run(x))

    return computed


def run_in_memory(
    step: Step, run: Run, source: Tensor, field: ReceptiveField, devices: Devices, write: Write, beside: int = 0
) -> None:
    """Run one step over all of `source`, in the fastest tiles that leave room for `beside` bytes and its own maps.

    Raises the RuntimeError of a tile that does not fit although it is the smallest possible.
    """
    memory = devices.memory
    if devices.store.type == devices.device.type:
        memory -= beside + step.resident(source, first=field.scale == 1)
    slowness = partial(step.slowness, batch=len(source)) if devices.device.type == "cpu" else None
    max_cells, last = max(step.max_cells(memory, len(source)), step.geometry.least_cells), None
    while True:
        grid = cheapest(step.geometry, source.shape[-2:], max_cells, field, slowness)
        height, width = (max(span.stop - span.start for span in spans) for spans in grid)
        try:
            computed = run_step(step, run, source, grid, write, devices.device, field)
        except RuntimeError as error:
            if not is_out_of_memory(error) or grid == last:
                raise
            logger.warning("out of memory with tiles of %d x %d; trying half of that", height, width)
        else:
            logger.debug("%d x %d tiles of up to %d x %d, %d run", *map(len, grid), height, width, computed)
            return
        max_cells, last = height * width // 2, grid
        if devices.device.type == "cuda":
            torch.cuda.empty_cache()


def enlarge(scores: Tensor, factor: int, size: tuple[int, int], devices: Devices) -> Tensor:
    """Enlarge scores (N, classes, h, w) by `factor` like `nets.resize.upsample`, and crop to `size`: see `Result`.

    Works in strips with an additional row on both sides, so that bilinear weights equal those of the whole, to the bit.
    """
    scores = scores.contiguous()
    height = scores.shape[-2]
    whole = size == (factor * height, factor * scores.shape[-1])
    if whole and scores.device.type == devices.store.type and not devices.labels:
        return upsample(scores, factor)
    result = Result(size, devices)
    for top in range(0, height, STRIP):
        first, last = max(0, top - 1), min(height, top + STRIP + 1)
        start, stop = top * factor, min((top + STRIP) * factor, size[0])
        strip = upsample(scores[..., first:last, :], factor)
        strip = strip[..., start - first * factor : stop - first * factor, : size[1]]
        result.write(0, strip, (slice(start, stop), slice(0, size[1])))
    return result.finished()
