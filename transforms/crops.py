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
from transforms.dataset import VOID
from transforms.row_counts import kept_row_counts, row_counts
from transforms.working_resolution import resize_image, resize_label, working_scale

CropSize = int | tuple[int, int]
"""Side of a square, or (rows, columns)."""

CROP_CLASS = "crop_class"
"""Key of an item: the class that its crop is to show, or `ANYWHERE`."""

ANYWHERE = -1
"""In place of a class: the position of the crop is drawn uniformly."""

_CACHED_COUNTS = 2048
"""Images whose row counts are kept in memory, in each process."""


def rows_and_columns(crop_size: CropSize) -> tuple[int, int]:
    """The size as (rows, columns)."""
    rows, columns = (crop_size, crop_size) if isinstance(crop_size, int) else crop_size
    return int(rows), int(columns)


class RandBalancedCropd(Randomizable, MapTransform):
    """Read one rectangular crop of an image and its label, centered on a pixel of a class chosen at random.

    A class is drawn uniformly among those present in the image except the `ubiquitous` ones (among all present
    when there is no other), then one of its pixels uniformly: exactly, from per-row counts, without a list of
    pixels. The crop is shifted to lie inside the image; an image smaller than the crop is continued by its mirror
    image, with `VOID` labels that the loss ignores.

    Args:
        keys: the image key and the label key; both hold paths of `.npy` files, (H, W); color images are (H, W, 3).
        crop_size: side of the crop, or (rows, columns), in pixels of the working resolution.
        num_classes: labels are 0 … num_classes - 1; other values (void) are never chosen.
        ubiquitous: classes that are in nearly every crop and therefore not drawn.
        balanced: False draws the position of the crop uniformly, regardless of its content, as the paper does for
            Cityscapes. An item with `CROP_CLASS` overrides this: its crop shows a pixel of that class, in the middle
            half of the crop; if the image lacks that class, a pixel of the class that the rule for other items draws.
        image_height: height in pixels to which a whole image would be brought (its working resolution), keeping
            its aspect; None keeps the stored resolution. Images are averaged down (antialiased), labels take
            the nearest pixel.

    Returns float32 image (1 or 3, rows, columns) in stored units and uint8 label (1, rows, columns).
    """

    def __init__(
        self,
        keys: Sequence[Hashable],
        crop_size: CropSize,
        num_classes: int,
        ubiquitous: Sequence[int] = (),
        image_height: int | None = None,
        balanced: bool = True,
    ) -> None:
        super().__init__(keys)
        if len(self.keys) != 2:
            raise ValueError(f"keys must be (image, label), got {self.keys}")
        self.image_key, self.label_key = self.keys
        self.crop_size = crop_size
        self.num_classes = num_classes
        self.ubiquitous = frozenset(ubiquitous)
        self.image_height = image_height
        self.balanced = balanced
        self._counts: dict[str, NDArray[np.uint32]] = {}
        self._center = (0, 0)

    def randomize(self, data: tuple[str, NDArray[np.uint8], tuple[int, int]], wanted: int | None = None) -> None:
        """Draw the center pixel (row, column) of a window (rows, columns) for a label map and remember it.

        `wanted` is the value of `CROP_CLASS`, if the item has one.
        """
        path, label, window = data
        if wanted == ANYWHERE or (wanted is None and not self.balanced):
            rows, columns = (_uniform(self.R, w, extent) for w, extent in zip(window, label.shape, strict=True))
            self._center = (rows, columns)
            return
        center = self._draw(label, self._row_counts(path, label), wanted)
        if center is None:  # the counts that were kept are those of another label map
            self._counts[path] = row_counts(label, self.num_classes)
            center = self._draw(label, self._counts[path], wanted)
        assert center is not None
        self._center = center if wanted is None else self._shifted(center, window, label.shape)

    def _shifted(self, center: tuple[int, int], window: tuple[int, int], shape: tuple[int, ...]) -> tuple[int, int]:
        """A center for which the drawn pixel lies anywhere in the middle half of the crop.

        A network that always sees what it looks for in the center learns the position instead of the appearance.
        """
        row, column = (
            min(max(middle + int(self.R.randint(-(extent // 4), extent // 4 + 1)), 0), size - 1)
            for middle, extent, size in zip(center, window, shape, strict=True)
        )
        return row, column

    def _row_counts(self, path: str, label: NDArray[np.uint8]) -> NDArray[np.uint32]:
        counts = self._counts.get(path)
        if counts is None:
            counts = kept_row_counts(path, label, self.num_classes)
            if len(self._counts) >= _CACHED_COUNTS:  # the oldest goes
                del self._counts[next(iter(self._counts))]
            self._counts[path] = counts = row_counts(label, self.num_classes) if counts is None else counts
        return counts

    def _draw(self, label: NDArray[np.uint8], counts: NDArray[np.uint32], wanted: int | None) -> tuple[int, int] | None:
        """A pixel, or None if the counts do not fit the row that it was to be in."""
        present = np.flatnonzero(counts.any(axis=1))
        classes = [int(c) for c in present if c not in self.ubiquitous] or [int(c) for c in present]
        if not classes:  # nothing but void: any pixel is as good as another
            return int(self.R.randint(label.shape[0])), int(self.R.randint(label.shape[1]))
        cls = wanted if wanted in present else classes[self.R.randint(len(classes))]
        ends = np.cumsum(counts[cls], dtype=np.int64)
        pick = int(self.R.randint(ends[-1]))
        row = int(np.searchsorted(ends, pick, side="right"))
        columns = np.flatnonzero(label[row] == cls)
        if len(columns) != counts[cls, row]:
            return None
        return row, int(columns[pick - (int(ends[row - 1]) if row else 0)])

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        image = np.load(d[self.image_key], mmap_mode="r")
        label = np.load(d[self.label_key], mmap_mode="r")
        size = rows_and_columns(self.crop_size)
        scale = working_scale(image.shape[0], self.image_height)
        window = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        self.randomize((str(d[self.label_key]), label, window), d.pop(CROP_CLASS, None))
        start = tuple(map(_start, self._center, window, label.shape))
        pixels = _cut(image, start, window, mode="symmetric")
        truth = _cut(label, start, window, mode="constant", constant_values=VOID)
        d[self.image_key] = resize_image(channels_first(pixels), size)
        d[self.label_key] = resize_label(torch.from_numpy(np.array(truth))[None], size)
        return d


def _uniform(random: np.random.RandomState, window: int, extent: int) -> int:
    """Center of a window whose position within [0, extent) is drawn uniformly."""
    return int(random.randint(max(1, extent - window + 1))) + window // 2


def _start(center: int, window: int, extent: int) -> int:
    """First index of a window around `center`, moved inside [0, extent); negative where the image is smaller."""
    if extent <= window:
        return -((window - extent) // 2)
    return min(max(center - window // 2, 0), extent - window)


def _cut(array: NDArray[Any], start: Sequence[int], window: tuple[int, int], **pad: Any) -> NDArray[Any]:
    """View of a window of a memory-mapped (H, W[, 3]) array; a copy padded by `np.pad` if it exceeds the array."""
    inside = np.asarray(array[tuple(slice(max(s, 0), s + w) for s, w in zip(start, window, strict=True))])
    if inside.shape[:2] == window:
        return inside
    before = [max(-s, 0) for s in start]
    margins = [(b, w - b - extent) for b, w, extent in zip(before, window, inside.shape[:2], strict=True)]
    return np.pad(inside, [*margins, *[(0, 0)] * (inside.ndim - 2)], **pad)
