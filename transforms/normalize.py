"""Intensities to the range that the networks take."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import MapTransform


class NormalizeRanged(MapTransform):
    """Map the *possible* values of an image, `intensity_range`, to [-0.5, 0.5] (paper, section 3.3).

    The range comes from the file's bit depth and not from the pixels, so that a crop and its whole image agree.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        low, high = (float(v) for v in d["intensity_range"])
        for key in self.key_iterator(d):
            d[key] = (d[key] - low) / (high - low) - 0.5
        return d
