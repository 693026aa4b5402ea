"""Class-balanced random crops, read straight from memory-mapped arrays (paper, section 3.1.2).

"Categories mammary gland and background are to be removed from the unique label list because one of the two
will always be present in any crop. From the remaining labels, one is to be selected randomly using a uniform
distribution. A pixel of the selected category is to [be chosen] randomly with a uniform probability to use as
the new crop center."
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, Randomizable
from numpy.typing import NDArray

from transforms.channels import channels_first
from transforms.resize import resize_image, resize_label, working_scale

VOID = 255
"""Label value of pixels that no image covers; never a class, always ignored by the loss."""


def row_counts(label: NDArray[np.uint8], num_classes: int) -> NDArray[np.uint32]:
    """Pixels of each class in each row: (num_classes, H). Enough to draw a pixel of a class exactly uniformly."""
    return np.stack([np.count_nonzero(label == c, axis=1) for c in range(num_classes)]).astype(np.uint32)


class RandBalancedCropd(Randomizable, MapTransform):
    """Read one square crop of an image and its label, centred on a pixel of a class chosen at random.

    A class is drawn uniformly among those present in the image except the `ubiquitous` ones (among all present
    when there is no other), then one of its pixels uniformly: exactly, from per-row counts, without a list of
    pixels. The crop is shifted to lie inside the image; an image smaller than the crop is continued by its mirror
    image, with `VOID` labels that the loss ignores.

    Args:
        keys: the image key and the label key; both hold paths of `.npy` files, (H, W); colour images are (H, W, 3).
        crop_size: side of the crop in pixels of the working resolution.
        num_classes: labels are 0 … num_classes - 1; other values (void) are never chosen.
        ubiquitous: classes that are in nearly every crop and therefore not drawn.
        balanced: False draws the place of the crop uniformly, whatever is there, as the paper does for Cityscapes.
        image_height: height in pixels to which a whole image would be brought (its working resolution), keeping
            its aspect; None keeps the stored resolution. Images are averaged down (antialiased), labels take
            the nearest pixel.

    Returns float32 image (1 or 3, crop_size, crop_size) in stored units and uint8 label (1, crop_size, crop_size).
    """

    def __init__(
        self,
        keys: Sequence[Hashable],
        crop_size: int,
        num_classes: int,
        ubiquitous: Sequence[int] = (),
        image_height: int | None = None,
        balanced: bool = True,
    ) -> None:
        super().__init__(keys)
        if len(self.keys) != 2:
            raise ValueError(f"keys must be (image, label), got {self.keys}")
        self.image_key, self.label_key = self.keys
        self.crop_size = int(crop_size)
        self.num_classes = num_classes
        self.ubiquitous = frozenset(ubiquitous)
        self.image_height = image_height
        self.balanced = balanced
        self._counts: dict[str, NDArray[np.uint32]] = {}
        self._center = (0, 0)

    def randomize(self, data: tuple[str, NDArray[np.uint8], int]) -> None:
        """Draw the centre pixel (row, column) of a window for a label map and remember it."""
        path, label, window = data
        if not self.balanced:
            self._center = tuple(_uniform(self.R, window, extent) for extent in label.shape)  # type: ignore[assignment]
            return
        counts = self._counts.get(path)
        if counts is None:
            counts = self._counts[path] = row_counts(label, self.num_classes)
        present = np.flatnonzero(counts.any(axis=1))
        wanted = [int(c) for c in present if c not in self.ubiquitous] or [int(c) for c in present]
        if not wanted:  # nothing but void: any pixel is as good as another
            self._center = (int(self.R.randint(label.shape[0])), int(self.R.randint(label.shape[1])))
            return
        cls = wanted[self.R.randint(len(wanted))]
        ends = np.cumsum(counts[cls], dtype=np.int64)
        pick = int(self.R.randint(ends[-1]))
        row = int(np.searchsorted(ends, pick, side="right"))
        nth = pick - (int(ends[row - 1]) if row else 0)
        self._center = (row, int(np.flatnonzero(label[row] == cls)[nth]))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        image = np.load(d[self.image_key], mmap_mode="r")
        label = np.load(d[self.label_key], mmap_mode="r")
        window = max(1, round(self.crop_size * working_scale(image.shape[0], self.image_height)))
        self.randomize((str(d[self.label_key]), label, window))
        top, left = (_start(center, window, extent) for center, extent in zip(self._center, label.shape, strict=True))
        pixels = _cut(image, top, left, window, mode="symmetric")
        truth = _cut(label, top, left, window, mode="constant", constant_values=VOID)
        size = (self.crop_size, self.crop_size)
        d[self.image_key] = resize_image(channels_first(pixels), size)
        d[self.label_key] = resize_label(torch.from_numpy(truth)[None], size)
        return d


def _uniform(random: np.random.RandomState, window: int, extent: int) -> int:
    """Centre of a window whose place within [0, extent) is drawn uniformly."""
    return int(random.randint(max(1, extent - window + 1))) + window // 2


def _start(center: int, window: int, extent: int) -> int:
    """First index of a window around `center`, moved inside [0, extent); negative where the image is smaller."""
    if extent <= window:
        return -((window - extent) // 2)
    return min(max(center - window // 2, 0), extent - window)


def _cut(array: NDArray[Any], top: int, left: int, window: int, **pad: Any) -> NDArray[Any]:
    """Copy a (window, window) square of a memory-mapped (H, W[, 3]) array; `np.pad` with `pad` where it sticks out."""
    inside = np.array(array[max(top, 0) : top + window, max(left, 0) : left + window])
    if inside.shape[:2] == (window, window):
        return inside
    before = max(-top, 0), max(-left, 0)
    margins = [(b, window - b - extent) for b, extent in zip(before, inside.shape[:2], strict=True)]
    return np.pad(inside, [*margins, *[(0, 0)] * (inside.ndim - 2)], **pad)
