"""Random saturation of color images (paper, section 3.3: Cityscapes)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the brightness of a pixel (ITU-R BT.601)."""


class RandSaturationd(RandomizableTransform, MapTransform):
    """Move every pixel away from, or toward, the gray of its own brightness: gray + f (color - gray).

    f is uniform in [1 - `factor`, 1 + `factor`]: 0 is a gray picture, 1 the picture itself. Brightness is kept; a gray
    image (1, H, W) or (3, H, W) is unchanged.

    Args:
        keys: images (3, H, W), red, green, blue in any units.
        prob: probability of applying the transform.
        factor: half the range of f, 0 to 1.
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.5, factor: float = 0.5) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        if not 0 <= factor <= 1:
            raise ValueError(f"factor must be from 0 to 1, got {factor}")
        self.factor = factor
        self._f = 1.0

    def randomize(self, data: Any = None) -> None:
        """Draw whether to apply the transform, and f."""
        super().randomize(data)
        self._f = float(self.R.uniform(1 - self.factor, 1 + self.factor))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        self.randomize()
        if not self._do_transform:
            return d
        for key in self.key_iterator(d):
            image = d[key]
            if len(image) == 3:
                gray = torch.tensordot(torch.tensor(LUMA, dtype=image.dtype), image, dims=1)
                d[key] = gray + self._f * (image - gray)
        return d
