"""Label maps as volumes with position, for programs that run a bundle's parts themselves, such as MONAI Label."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.transforms import MapTransform
from numpy.typing import NDArray

from transforms.reading.volumes import volume_affine


class ToVolumed(MapTransform):
    """Label maps (C, H, W) → (C, W, H, 1) with the column as the first axis, as MONAI's own readers return images.

    Sets `image_meta_dict` with `original_affine`, float64 (4, 4), from (column, row, slice) to millimeters to the
    right, the front and the top: that of the image file if its format has one, else the spacing alone. Requires `facts`
    and `spacing_mm` of `transforms.reading.load_mammogram.LoadMammogramd`.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = d[key].cpu().mT[..., None]
        d["image_meta_dict"] = {"original_affine": affine_of(Path(d["facts"]["path"]), d["spacing_mm"])}
        return d


def affine_of(path: Path, spacing_mm: tuple[float, float]) -> NDArray[np.float64]:
    """Affine of the pixels as read: that of the file, or the (row, column) spacing alone."""
    affine = volume_affine(path)
    if affine is None:
        row, column = (float(value) for value in spacing_mm)
        affine = np.diag([-column, -row, 1.0, 1.0])
    return affine
