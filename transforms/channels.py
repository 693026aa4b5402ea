"""Stored pixels to network channels: grayscale mammograms, and color photographs of street scenes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform
from numpy.typing import NDArray


def channels_first(pixels: NDArray[Any]) -> torch.Tensor:
    """Stored pixels (rows, columns) or (rows, columns, 3) → float32 (1, rows, columns) or (3, rows, columns)."""
    values = torch.from_numpy(pixels.astype(np.float32))
    return values[None] if values.ndim == 2 else values.movedim(-1, 0)


class ThreeChannelsd(MapTransform):
    """Repeat a gray image (1, H, W) as the three channels that the networks take; leave (3, H, W) unchanged.

    "The grayscale images were transformed into RGB images" (paper, section 3.3).
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = d[key].expand(3, -1, -1).contiguous() if len(d[key]) == 1 else d[key]
        return d
