"""Whole mammograms in bounded memory, with the result of one pass over the whole image.

Overlapping windows see zeros where the image continues, and their output there is averaged with that of their
neighbors. Here every tile reads as much of its surroundings as its cells can see (the halo) and keeps only the cells
that saw all of it; nothing is averaged. Why that is exact: docs/adr/0004-exact-tiles.md.

| network | how | result |
|---|---|---|
| `FCN`, `Dilation10` | the encoder in tiles, in three steps; then decoder or context module once, at 1/8 | exact |
| `ValidUNet` | tiles of the image, mirrored at its border, overlapping by what the convolutions lose | exact |
| `DeepLabV3` | whole image, its largest layer in tiles: group norm needs the whole image's sums | exact |
| others | whole image; padded for networks that halve it by `strides`, such as MONAI's `UNet` | exact |
| others, and `DeepLabV3`, that do not fit | overlapping windows, with a warning | approximate |

Exact means up to rounding: the library sums in another order for maps of another size.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SlidingWindowInferer
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from engines.inference.inferers import PaddedInferer, size_multiple
from engines.inference.tiling.deeplabv3_steps import MemoryNeeds, is_streamed, needs, run_streamed
from engines.inference.tiling.execution import Devices, labels_of, run_tiles
from engines.inference.tiling.memory import GB, default_memory, is_out_of_memory, network_bytes
from engines.inference.tiling.steps import Step, can_tile, measured
from nets import DeepLabV3
from nets.stages import StagedNetwork
from transforms.decision import Decision

logger = logging.getLogger("mammoseg")

WINDOW, OVERLAP = 1024, 0.25
"""Largest side of the windows, and their overlap, where a network cannot be run exactly."""
WINDOW_STEP = 64
WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)
"""Modules that do not change the result of the network inside."""


class TiledInferer(Inferer):
    """Segment images of any size: (N, C, H, W) → logits (N, classes, H, W), as from one pass over the whole.

    For prediction: no gradient is kept. All images of a batch go through a tile together.

    Args:
        memory_gb: memory (2**30 bytes) for one forward pass on the network's device, besides its parameters, the
            image and the result; counted beforehand, see `tiling.memory`. By default 4 on the CPU, or half of the
            free memory if that is less; on a GPU half of the free memory.
        device: device on which maps and result are assembled; "cpu", so that a GPU's memory does not depend on the
            size of the image. None: the device of the image.
        skip_air: compute regions of uniform background, as around the breast in digital mammograms, once and copy
            them. The result is the same.
        labels: return class numbers, uint8 (N, 1, H, W), made part by part, without full-size logits.
        decision: rule that chooses the class; None takes the most likely class.
        precision: precision of tiles, windows and whole passes, see `engines.base.precision`; maps are kept in fp32,
            and DeepLabV3 is computed in fp32.
    """

    def __init__(
        self,
        memory_gb: float | None = None,
        device: torch.device | str | None = "cpu",
        skip_air: bool = True,
        labels: bool = False,
        decision: Decision | None = None,
        precision: str = "fp32",
    ) -> None:
        """Check and keep the arguments.

        Raises ValueError if `memory_gb` is not above 0.
        """
        super().__init__()
        if memory_gb is not None and not memory_gb > 0:
            raise ValueError(f"memory_gb must be above 0, got {memory_gb}")
        self.memory_gb = memory_gb
        self.device = None if device is None else torch.device(device)
        self.skip_air = skip_air
        self.labels = labels
        self.decision = decision
        self.precision = precision
        self._warned: set[tuple[str, int]] = set()
        self._known: tuple[nn.Module, tuple[Any, ...], list[Step] | MemoryNeeds] | None = None

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Return the logits, or labels, of `inputs` (N, C, H, W).

        Further arguments go to the network, which is then not run in tiles.
        """
        image = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        inner = network.module if isinstance(network, WRAPPERS) else network
        with torch.no_grad():
            if isinstance(inner, nn.Module) and not args and not kwargs:
                result = self._network(image, inner)
            else:
                result = self._otherwise(image, network, *args, **kwargs)
        return MetaTensor(result).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else result

    def _network(self, image: Tensor, network: nn.Module) -> Tensor:
        devices = self._devices(image, network)
        if isinstance(network, StagedNetwork):
            network.check_input(image)
        if not can_tile(network) and not is_streamed(network):
            return self._otherwise(image, network)
        known = self._measured(network, image)
        if isinstance(network, StagedNetwork) and image.shape[1] > 1 and is_gray(image):
            network = network.for_gray()
            image = image[:, : network.in_channels]
        if isinstance(known, list):
            return run_tiles(network, known, image, devices, self.skip_air)
        if known.memory(image) <= devices.memory:
            return run_streamed(cast(DeepLabV3, network), known, image, devices, self.skip_air)
        return self._otherwise(image, network)

    def _devices(self, image: Tensor, network: Callable[..., Tensor]) -> Devices:
        parameters = network.parameters() if isinstance(network, nn.Module) else iter(())
        device = next((p.device for p in parameters), image.device)
        memory = default_memory(device) if self.memory_gb is None else int(self.memory_gb * GB)
        return Devices(device, self.device or image.device, memory, self.labels, self.decision, self.precision)

    def _measured(self, network: nn.Module, image: Tensor) -> list[Step] | MemoryNeeds:
        """Return the measurements of the network, repeated only if something has changed."""
        key = (getattr(network, "stage", None), image.shape[1], image.dtype)
        known = self._known
        if known is None or known[0] is not network or known[1] != key:
            found = needs(network, image) if isinstance(network, DeepLabV3) else measured(network, image)
            self._known = (network, key, found)
            return found  # another thread may have another network
        return known[2]

    def _otherwise(self, image: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Run one pass over the whole image if it fits into memory, else overlapping windows."""
        devices = self._devices(image, network)
        logits = None
        if network_bytes(network, image, image.shape, *args, **kwargs) <= devices.memory:
            try:
                logits = PaddedInferer(self.precision)(image.to(devices.device), network, *args, **kwargs)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                logger.warning("out of memory with a whole image of %d x %d", *image.shape[-2:])
        if logits is None:
            logits = self._windows(image, network, devices, *args, **kwargs)
        return (labels_of(logits, self.decision) if self.labels else logits).to(devices.store)

    def _windows(
        self, image: Tensor, network: Callable[..., Tensor], devices: Devices, *args: Any, **kwargs: Any
    ) -> Tensor:
        step = max(WINDOW_STEP, size_multiple(network, image.shape[1]))
        side = max(step, WINDOW // step * step)
        while side > step:
            shape = (1, image.shape[1], side, side)
            if network_bytes(network, image, shape, *args, **kwargs) <= devices.memory:
                break
            side -= step
        name = type(network).__name__
        logger.log(
            logging.DEBUG if (name, side) in self._warned else logging.WARNING,
            "%s is not exact in tiles, and an image of %d x %d does not fit into %.2f GB: windows of %d x %d with "
            "an overlap of %g instead. A window sees nothing outside itself, and labels differ from those of "
            "one whole pass (docs/results.md, Whole mammograms); a larger memory_gb avoids it",
            name, *image.shape[-2:], devices.memory / GB, side, side, OVERLAP,
        )  # fmt: skip
        self._warned.add((name, side))
        while True:
            windows = SlidingWindowInferer(
                roi_size=(side, side),
                sw_batch_size=1,
                overlap=OVERLAP,
                mode="gaussian",
                padding_mode="replicate",
                sw_device=devices.device,
                device=devices.store,
            )
            try:
                logits: Tensor = windows(image, PaddedInferer(self.precision), network, *args, **kwargs)
                return logits
            except RuntimeError as error:
                if not is_out_of_memory(error) or side == step:
                    raise
            side = max(step, side // 2 // step * step)
            logger.warning("out of memory; trying windows of %d x %d", side, side)


def is_gray(image: Tensor) -> bool:
    """Return whether all channels of an image (N, C, H, W) are equal."""
    if image.stride(1) == 0:  # expanded
        return True
    first, *others = image.detach().unbind(1)
    if image.device.type == "cpu" and image.dtype == torch.float32:  # three times faster than torch.equal
        return all(np.array_equal(first.numpy(), other.numpy()) for other in others)
    return all(torch.equal(first, other) for other in others)
