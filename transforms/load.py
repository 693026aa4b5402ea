"""Whole images and label maps of a dataset folder, for validation and evaluation."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from transforms.channels import channels_first
from transforms.npy import load_npy
from transforms.working_resolution import resize_image, working_size


class LoadWholed(MapTransform):
    """Read whole images of a dataset folder at the working resolution: `.npy` path → float32 (1 or 3, h, w).

    Args:
        keys: image keys.
        image_height: see `RandBalancedCropd`.
    """

    def __init__(self, keys: KeysCollection, image_height: int | None = None) -> None:
        super().__init__(keys)
        self.image_height = image_height

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = at_working_resolution(load_npy(d[key]), self.image_height)
        return d


class LoadLabeld(MapTransform):
    """Read whole label maps at their own resolution: `.npy` path → uint8 (1, H, W)."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = torch.from_numpy(load_npy(d[key], mmap_mode=None))[None]
        return d


def at_working_resolution(pixels: np.ndarray[Any, Any], image_height: int | None) -> torch.Tensor:
    """Stored pixels (H, W) or (H, W, 3), possibly memory-mapped → float32 (1 or 3, h, w)."""
    return resize_image(channels_first(pixels), working_size(pixels.shape[0], pixels.shape[1], image_height))
