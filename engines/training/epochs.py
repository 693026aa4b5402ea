"""Randomness as a function of (seed, epoch, item), so that runs are reproducible and resume exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from monai.data import Dataset
from monai.transforms import Compose
from monai.utils import set_determinism
from torch.utils.data import DistributedSampler

from engines.training.plan import Stage
from engines.training.sampling import ClassSampling
from transforms.crops import CROP_CLASS, CropSize, RandBalancedCropd

_SAMPLING = 1
"""Separates the draws of the sampling from those of the transforms."""


class Draw(NamedTuple):
    """A crop of an epoch, with all that a process started in an earlier epoch needs to make it.

    Attributes:
        number: number of the crop in the epoch.
        epoch_key: key of the epoch.
        crop_size: crop size in the epoch.
    """

    number: int
    epoch_key: tuple[int, ...]
    crop_size: CropSize


class EpochDataset(Dataset):
    """A `monai.data.Dataset` whose random transforms are reseeded for every item of every epoch.

    The crops of an epoch do not depend on the number of workers, on earlier epochs, or on an interruption.

    Args:
        data: items.
        transform: composed transforms.
        seed: the run's seed.
        repeats: number of times each item occurs in an epoch (crops per image).
        sampling: draws the image and the class of each crop; None takes every image equally often and leaves the class
            to the transforms. The number of crops per epoch is the same.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Compose,
        seed: int = 0,
        repeats: int = 1,
        sampling: ClassSampling | None = None,
    ) -> None:
        super().__init__(data, transform)
        self.seed = seed
        self.repeats = repeats
        self.sampling = sampling
        self.epoch_key: tuple[int, ...] = (0,)
        self.crop_size: CropSize = 0

    def prepare(self) -> None:
        """Read the data needed for sampling, before each worker process would."""
        if self.sampling is not None:
            self.sampling.prepare()

    def set_crop_size(self, crop_size: CropSize) -> None:
        """Set the side, or (rows, columns), of the crops in working pixels."""
        self.crop_size = crop_size
        for transform in self.transform.transforms:
            if isinstance(transform, RandBalancedCropd):
                transform.crop_size = crop_size

    def __len__(self) -> int:
        return len(self.data) * self.repeats

    def __getitem__(self, index: Any) -> Any:
        """Return crop number `index` of the current epoch, or the crop of a `Draw`."""
        if not isinstance(index, Draw):
            return super().__getitem__(index)
        self.epoch_key = index.epoch_key
        if index.crop_size != self.crop_size:
            self.set_crop_size(index.crop_size)
        return super().__getitem__(index.number)

    def _transform(self, index: int) -> Any:
        self.transform.set_random_state(seed=derived_seed(self.seed, *self.epoch_key, index))
        if self.sampling is None:
            return self.transform(dict(self.data[index % len(self.data)]))
        item, cls = self.sampling.draw(derived_seed(self.seed, *self.epoch_key, index, _SAMPLING))
        return self.transform({**self.data[item], CROP_CLASS: cls})


class EpochSampler(DistributedSampler[Any]):
    """A `DistributedSampler` of an `EpochDataset` that yields each crop as a `Draw`, so that processes may persist."""

    def __iter__(self) -> Iterator[Any]:
        key, size = self.dataset.epoch_key, self.dataset.crop_size  # type: ignore[attr-defined]
        return (Draw(number, key, size) for number in super().__iter__())


def begin_epoch(loader: Any, index: int, stage: Stage, epoch: int) -> None:
    """Set a `DataLoader` of an `EpochDataset` to an epoch (from 1) of stage number `index`."""
    draw = stage.draw_of(epoch)
    loader.dataset.epoch_key = (index, draw)
    loader.dataset.set_crop_size(stage.crop_size_at(epoch))
    loader.sampler.set_epoch(index * 100_000 + draw)


def derived_seed(*numbers: int) -> int:
    """Return a well-mixed 32-bit seed from several non-negative numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def seed_all(*numbers: int) -> None:
    """Seed every global generator (initial weights, dropout) from several non-negative numbers."""
    set_determinism(seed=derived_seed(*numbers))
