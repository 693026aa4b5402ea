"""Randomness is a function of (seed, epoch, item)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.data import DataLoader
from monai.transforms import Compose, RandFlipd, SelectItemsd

from engines.training.epochs import EpochDataset, derived_seed
from transforms.crops import RandBalancedCropd
from transforms.dataset import Dataset
from transforms.normalize import NormalizeRanged


def crops(folder: Path, workers: int, epochs: list[int]) -> list[torch.Tensor]:
    data = Dataset.load(folder)
    transform = Compose(
        [
            RandBalancedCropd(["image", "label"], 16, data.num_classes, data.ubiquitous(2)),
            NormalizeRanged("image"),
            RandFlipd(["image", "label"], prob=0.5, spatial_axis=1),
            SelectItemsd(["image", "label"]),
        ]
    )
    dataset = EpochDataset(data.items("training"), transform, seed=3, repeats=2)
    loader = DataLoader(dataset, batch_size=2, num_workers=workers)
    out = []
    for epoch in epochs:
        dataset.epoch_key = (0, epoch)
        out += [torch.cat([batch["image"], batch["label"]]) for batch in loader]
    return out


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_crops_do_not_depend_on_workers_or_on_earlier_epochs(tiny_dataset: Path) -> None:
    plain = crops(tiny_dataset, 0, [1, 2])
    assert same(plain, crops(tiny_dataset, 2, [1, 2]))
    assert same(plain[len(plain) // 2 :], crops(tiny_dataset, 0, [2]))


def test_epochs_and_repeats_differ(tiny_dataset: Path) -> None:
    first, second = crops(tiny_dataset, 0, [1]), crops(tiny_dataset, 0, [2])
    assert not same(first, second)
    assert not torch.equal(first[0], first[2])  # the same images, second time round


@pytest.mark.parametrize("numbers", [(0, 0, 1), (0, 1, 0), (1, 0, 0)])
def test_derived_seeds_differ_by_place(numbers: tuple[int, ...]) -> None:
    assert derived_seed(*numbers) != derived_seed(0, 0, 0)
    assert derived_seed(*numbers) == derived_seed(*numbers)
