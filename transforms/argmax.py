"""Logits to label maps at full resolution."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from transforms.decision import Decision
from transforms.working_resolution import upsampled_argmax


class ArgmaxLiked(MapTransform):
    """Logits (C, h, w) → label map uint8 (1, H, W), at the size of `d[like]` (its last two axes) or `d[size_key]`.

    Images are scored, and label maps written, at the full resolution of the label. The logits are kept in
    `d[keep_key]` if `keep_key` is given. A label map uint8 (1, H, W) of that size, from an inferer with `labels`, is
    left unchanged. With a `decision`, the lesion classes are decided by a threshold.
    """

    def __init__(
        self,
        keys: KeysCollection,
        like: str | None = None,
        size_key: str | None = None,
        keep_key: str | None = None,
        decision: Decision | None = None,
    ) -> None:
        super().__init__(keys)
        if (like is None) == (size_key is None):
            raise ValueError("specify either like or size_key")
        self.like = like
        self.size_key = size_key
        self.keep_key = keep_key
        self.decision = decision

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        size = d[self.like].shape[-2:] if self.like is not None else d[self.size_key]
        for key in self.key_iterator(d):
            if self.keep_key is not None:
                d[self.keep_key] = d[key]
            rows, columns = int(size[0]), int(size[1])
            if d[key].dtype != torch.uint8:
                d[key] = upsampled_argmax(d[key], (rows, columns), decision=self.decision)
            elif d[key].shape[-2:] != (rows, columns):
                found = " x ".join(map(str, d[key].shape[-2:]))
                raise ValueError(f"got a label map of {found} for an image of {rows} x {columns}: expected logits")
        return d
