"""Whole-image inference, with windows for images that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer, SimpleInferer, SlidingWindowInferer


class WholeImageInferer(Inferer):
    """One forward pass over the whole image, which sees all the context there is; windows above `max_pixels`.

    Args:
        max_pixels: largest image (rows x columns, at the working resolution) taken in one pass.
        window: side of the square windows for larger images (overlap a quarter, Gaussian weights).
    """

    def __init__(self, max_pixels: int = 2048 * 2048, window: int = 1024) -> None:
        super().__init__()
        self.max_pixels = max_pixels
        self._whole = SimpleInferer()
        self._windows = SlidingWindowInferer(
            roi_size=(window, window),
            sw_batch_size=1,
            overlap=0.25,
            mode="gaussian",
            cache_roi_weight_map=True,
        )

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """(N, C, H, W) → logits (N, classes, H, W)."""
        rows, columns = inputs.shape[-2:]
        inferer = self._whole if rows * columns <= self.max_pixels else self._windows
        logits: torch.Tensor = inferer(inputs, network, *args, **kwargs)
        return logits
