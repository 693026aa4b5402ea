"""Whole images through a network: in one pass, or in exact tiles if they are large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monai.inferers import Inferer
from torch import Tensor

from engines.inferers import PaddedInferer
from engines.tiling import TiledInferer


class WholeImageInferer(Inferer):
    """One forward pass over the whole image, which sees all the context there is.

    Images above `max_pixels` go through `TiledInferer`, whose result is that of one pass, in bounded memory.

    Args:
        max_pixels: largest image (rows x columns, at the working resolution) taken in one pass.
        memory_gb: see `TiledInferer`.
    """

    def __init__(self, max_pixels: int = 1024 * 1024, memory_gb: float | None = None) -> None:
        super().__init__()
        self.max_pixels = max_pixels
        self._whole = PaddedInferer()
        self._tiles = TiledInferer(memory_gb)

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """(N, C, H, W) → logits (N, classes, H, W)."""
        rows, columns = inputs.shape[-2:]
        inferer = self._whole if rows * columns <= self.max_pixels else self._tiles
        logits: Tensor = inferer(inputs, network, *args, **kwargs)
        return logits
