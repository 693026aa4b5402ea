"""Randomness that is a function of (seed, epoch, item), so that runs repeat and resume exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from monai.data import Dataset
from monai.transforms import Compose
from monai.utils import set_determinism


class EpochDataset(Dataset):
    """A `monai.data.Dataset` whose random transforms are seeded afresh for every item of every epoch.

    The crops of an epoch do not depend on the number of workers, on the epochs before, or on an interruption.

    Args:
        data: items.
        transform: composed transforms.
        seed: the run's seed.
        repeats: how often each item comes up in an epoch (crops per image).
    """

    def __init__(self, data: Sequence[Mapping[str, Any]], transform: Compose, seed: int = 0, repeats: int = 1) -> None:
        super().__init__(data, transform)
        self.seed = seed
        self.repeats = repeats
        self.epoch_key: tuple[int, ...] = (0,)

    def __len__(self) -> int:
        return len(self.data) * self.repeats

    def _transform(self, index: int) -> Any:
        self.transform.set_random_state(seed=derived_seed(self.seed, *self.epoch_key, index))
        return self.transform(dict(self.data[index % len(self.data)]))


def derived_seed(*numbers: int) -> int:
    """A well-mixed 32-bit seed from several non-negative numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def seed_all(*numbers: int) -> None:
    """Seed every global generator (first weights, dropout) from several non-negative numbers."""
    set_determinism(seed=derived_seed(*numbers))
