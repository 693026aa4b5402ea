"""Persistent reading processes give the same crops and random numbers as processes started in each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader, get_track_meta, set_track_meta
from monai.transforms import Compose, RandFlipd, SelectItemsd

from engines.base.paths import project_root
from engines.training.epoch_loader import EpochLoader, end_reading, read_ahead
from engines.training.epoch_loader import reading as reads
from engines.training.epochs import EpochDataset, EpochSampler, begin_epoch, seed_all
from engines.training.plan import FineTuning, Stage
from transforms.crops import RandBalancedCropd
from transforms.dataset import Dataset
from transforms.normalize import NormalizeRanged

STAGE = Stage("front", 3, 16, 0.1)


def loader(kind: type[DataLoader], folder: Path, workers: int, **more: Any) -> Any:
    data = Dataset.load(folder)
    keys = ["image", "label"]
    crops = RandBalancedCropd(keys, 16, data.num_classes, data.ubiquitous(2))
    flips = [NormalizeRanged("image"), RandFlipd(keys, prob=0.5, spatial_axis=1), SelectItemsd(keys)]
    dataset = EpochDataset(data.items("training"), Compose([crops, *flips]), seed=3, repeats=4)
    sampler = EpochSampler(dataset, num_replicas=1, rank=0, shuffle=True, seed=3)
    persist = {"persistent_workers": workers > 0} if kind is EpochLoader else {}
    return kind(dataset, sampler=sampler, batch_size=2, num_workers=workers, **persist, **more)


@dataclass
class Epochs:
    """Result of epochs: batches, and a global random number after each, as drawn by dropout."""

    batches: list[list[torch.Tensor]]
    numbers: list[float]


def epochs(batches: Any, stage: Stage, ahead: bool = False) -> Epochs:
    """The epochs of a stage, as a training runs them: seeded, read, and with random numbers drawn after each."""
    state = SimpleNamespace(epoch=0, iteration=0, epoch_length=len(batches), max_epochs=stage.max_epochs)
    trainer: Any = SimpleNamespace(data_loader=batches, state=state)
    told = Epochs([], [])
    for epoch in range(1, stage.max_epochs + 1):
        state.epoch = epoch
        begin_epoch(batches, 0, stage, epoch)
        seed_all(0, epoch)
        of_epoch = []
        for batch in batches:
            of_epoch.append(torch.cat([batch["image"], batch["label"]]))
            state.iteration += 1
            if ahead:
                read_ahead(trainer, 0, stage)
        told.batches.append(of_epoch)
        told.numbers.append(torch.rand(1).item())
    return told


def same(one: Epochs, other: Epochs) -> bool:
    pairs = zip(one.batches, other.batches, strict=True)
    return one.numbers == other.numbers and all(
        len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True)) for a, b in pairs
    )


@pytest.fixture
def reading(tiny_dataset: Path) -> Iterator[EpochLoader]:
    made: EpochLoader = loader(EpochLoader, tiny_dataset, 2)
    yield made
    made.close()


@pytest.mark.parametrize("ahead", [False, True])
def test_epochs_are_those_of_a_plain_loader(tiny_dataset: Path, reading: EpochLoader, ahead: bool) -> None:
    plain = epochs(loader(DataLoader, tiny_dataset, 0), STAGE)
    assert same(plain, epochs(reading, STAGE, ahead))
    assert same(plain, epochs(loader(EpochLoader, tiny_dataset, 0), STAGE, ahead))
    assert len(set(plain.numbers)) == 3
    assert not torch.equal(plain.batches[0][0], plain.batches[1][0])


def test_processes_follow_the_size_of_the_crops(reading: EpochLoader) -> None:
    stage = Stage("front", 3, 16, 0.1, fine_tuning=FineTuning(2, 24, 0.01))
    sizes = [{tuple(batch.shape[-2:]) for batch in batches} for batches in epochs(reading, stage, ahead=True).batches]
    assert sizes == [{(16, 16)}, {(24, 24)}, {(24, 24)}]


def test_processes_stay_until_they_are_ended(reading: EpochLoader) -> None:
    epochs(reading, STAGE)
    iterator: Any = reading._iterator
    processes = list(iterator._workers)
    epochs(reading, STAGE)
    assert reading._iterator is iterator
    assert [process.is_alive() for process in processes] == [True, True]
    end_reading(SimpleNamespace(data_loader=reading))  # type: ignore[arg-type]
    assert [process.is_alive() for process in processes] == [False, False]
    assert len(epochs(reading, STAGE).batches) == 3  # of other processes


def test_an_epoch_begun_for_nothing_is_left(tiny_dataset: Path, reading: EpochLoader) -> None:
    """A stage ends early after its next epoch was begun: the stage that follows gets its own crops."""
    begin_epoch(reading, 0, STAGE, 2)
    reading.begin()
    other = Stage("context", 1, 24, 0.1)
    assert same(epochs(loader(DataLoader, tiny_dataset, 0), other), epochs(reading, other))


def test_whole_images_are_read_by_the_same_processes_in_each_pass(process_state: None, tiny_dataset: Path) -> None:
    """As in the validation of a training; the operating point takes one pass after each stage."""
    parser = ConfigParser()
    parser.read_config(str(project_root() / "bundles" / "unet" / "configs" / "train.json"))
    parser["dataset_dir"], parser["num_workers"] = str(tiny_dataset), 1
    images = parser.get_parsed_content("validate::dataloader")
    processes, cases = [], []
    with reads(SimpleNamespace(data_loader=images)):  # type: ignore[arg-type]
        for _ in range(2):
            cases.append([batch["case"] for batch in images])
            processes += images._iterator._workers
    assert cases[0] == cases[1] == [[item["case"]] for item in images.dataset.data]
    assert processes[0] is processes[1]
    assert not processes[0].is_alive()
    assert not parser.get_parsed_content("validate::held_out_dataloader").persistent_workers


@pytest.mark.filterwarnings("ignore:Please be aware. Return type of the dataloader:UserWarning")
def test_spawned_processes_give_plain_tensors_if_those_are_wanted(tiny_dataset: Path) -> None:
    before = get_track_meta()
    set_track_meta(False)
    try:
        spawned = loader(EpochLoader, tiny_dataset, 1, multiprocessing_context="spawn")
        begin_epoch(spawned, 0, STAGE, 1)
        assert {type(batch["image"]) for batch in spawned} == {torch.Tensor}
        spawned.close()
    finally:
        set_track_meta(before)
