"""Replicas of training images, made once and stored (paper, section 3.2).

"The augmentation is achieved by applying image processing practices, e.g., rotation, smoothing, mirror effect,
sharpening, noise addition, contrast enhancement, etc." Each image is "replicated ten times using different data
augmentation techniques" (section 3.1.2). The paper does not state their strengths; those here are chosen by this
project.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import (
    Compose,
    RandAdjustContrastd,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSharpend,
    RandGaussianSmoothd,
    Randomizable,
    RandRotated,
    ScaleIntensityRanged,
    Transform,
)

_DEGREES = 15.0
_MARGIN = 12  # pixels, beyond the reach of the filters


class _Filtered(Randomizable, Transform):
    """A filter over an image (C, H, W) that is padded by its border pixels; the filters themselves assume black there.

    Without the padding, sharpening draws a bright frame.
    """

    def __init__(self, key: str, inner: Any) -> None:
        self.key = key
        self.inner = inner

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> _Filtered:
        self.inner.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        image = torch.as_tensor(d[self.key])
        d[self.key] = torch.nn.functional.pad(image[None], (_MARGIN,) * 4, mode="replicate")[0]
        d = self.inner(d)
        d[self.key] = d[self.key][:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
        return d


_TECHNIQUES: tuple[tuple[str, Callable[[Sequence[str]], Transform]], ...] = (
    ("mirror", lambda keys: RandFlipd(keys, prob=1.0, spatial_axis=1)),
    (
        "rotation",
        lambda keys: RandRotated(
            keys,
            range_x=math.radians(_DEGREES),
            prob=1.0,
            keep_size=True,
            mode=("bilinear", "nearest"),
            padding_mode="reflection",
        ),
    ),
    ("smoothing", lambda keys: _Filtered(keys[0], RandGaussianSmoothd(keys[:1], (0.5, 1.5), (0.5, 1.5), prob=1.0))),
    ("sharpening", lambda keys: _Filtered(keys[0], RandGaussianSharpend(keys[:1], alpha=(5.0, 15.0), prob=1.0))),
    ("noise", lambda keys: RandGaussianNoised(keys[:1], prob=1.0, std=0.02, sample_std=False)),
    ("contrast", lambda keys: RandAdjustContrastd(keys[:1], prob=1.0, gamma=(0.7, 1.4))),
)
TECHNIQUES = tuple(name for name, _ in _TECHNIQUES)


def techniques(number: int) -> tuple[str, ...]:
    """Techniques of replica `number`: one technique each for 1 to 6, then two in succession.

    0 is the image itself. 36 replicas differ in their techniques; further ones only in the strengths.
    """
    if number == 0:
        return ()
    first, distance = (number - 1) % len(TECHNIQUES), (number - 1) // len(TECHNIQUES) % len(TECHNIQUES)
    second = (first + distance) % len(TECHNIQUES)
    return (TECHNIQUES[first],) if distance == 0 else (TECHNIQUES[first], TECHNIQUES[second])


def replica(number: int, keys: Sequence[str], intensity_range: tuple[int, int]) -> Compose:
    """Transforms of an image (1, H, W) in stored units and its label (1, H, W) that make replica `number`.

    Mirror and rotation act on both, the others on the image. Rotation is by at most 15 degrees; areas from outside the
    image are filled by reflection, in both. Values stay within `intensity_range`. Strengths are random: seed with
    `set_random_state`.

    Args:
        number: 0 gives the image itself; see `techniques`.
        keys: keys of the image and of the label.
        intensity_range: smallest and largest possible value.
    """
    low, high = intensity_range
    make = dict(_TECHNIQUES)
    return Compose(
        [
            ScaleIntensityRanged(keys[:1], low, high, 0.0, 1.0),
            *(make[name](keys) for name in techniques(number)),
            ScaleIntensityRanged(keys[:1], 0.0, 1.0, low, high, clip=True),
        ]
    )
