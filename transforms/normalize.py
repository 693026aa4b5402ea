"""Normalization of intensities to the networks' input range."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.transforms import MapTransform

from transforms.errors import UserError

SLACK = 1e-4
"""Tolerance as a fraction of the range, for rounding when an image is averaged to another resolution."""


class NormalizeRanged(MapTransform):
    """Map the *possible* values of an image, `intensity_range`, to [-0.5, 0.5] (paper, section 3.3).

    The range comes from the file's bit depth and not from the pixels, so that a crop and its whole image agree.

    Raises UserError if a value is outside the range: the network would see values that no other image can have.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        low, high = (float(v) for v in d["intensity_range"])
        for key in self.key_iterator(d):
            lowest, highest = (float(v) for v in torch.aminmax(torch.as_tensor(d[key])))
            slack = SLACK * (high - low)
            if not low - slack <= lowest <= highest <= high + slack:
                raise UserError(
                    f"{d.get('case', d.get('name', 'an image'))}: holds values from {lowest:g} to {highest:g}, outside "
                    f"its intensity_range [{low:g}, {high:g}]; prepare the dataset again"
                )
            values = d[key] - low  # a copy; the rest in place, as memory costs more than arithmetic
            values /= high - low
            values -= 0.5
            d[key] = values
        return d
