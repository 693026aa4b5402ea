"""Original orientation of images that were mirrored for the network."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import MapTransform


class Unmirrord(MapTransform):
    """Restore the original orientation of images and label maps (C, H, W) if `d["mirrored"]` is true."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = d[key].flip(-1) if d["mirrored"] else d[key]
        return d
