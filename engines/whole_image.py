"""Whole images through a network: in one pass, or in exact tiles if they are large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monai.inferers import Inferer
from torch import Tensor

from engines.inferers import PaddedInferer
from engines.tiling import TiledInferer
from engines.tiling_run import labels_of


class WholeImageInferer(Inferer):
    """One forward pass over the whole image, which sees all the context there is.

    Images above `max_pixels` go through `TiledInferer`, whose result is that of one pass, in bounded memory.

    Args:
        max_pixels: largest image (rows x columns, at the working resolution) taken in one pass.
        memory_gb: see `TiledInferer`.
        labels: return class numbers, uint8 (N, 1, H, W); of a large image no logits of full size exist.
    """

    def __init__(self, max_pixels: int = 1024 * 1024, memory_gb: float | None = None, labels: bool = False) -> None:
        super().__init__()
        self.max_pixels = max_pixels
        self.labels = labels
        self._whole = PaddedInferer()
        self._tiles = TiledInferer(memory_gb, labels=labels)

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """(N, C, H, W) → logits (N, classes, H, W), or labels."""
        rows, columns = inputs.shape[-2:]
        if rows * columns > self.max_pixels:
            result: Tensor = self._tiles(inputs, network, *args, **kwargs)
            return result
        logits: Tensor = self._whole(inputs, network, *args, **kwargs)
        return labels_of(logits) if self.labels else logits
