"""`ClassSampling`: class first, then image, then pixel; exact, repeatable and of constant cost."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.transforms import Compose, SelectItemsd
from scipy.stats import chisquare
from torch.utils.data import DistributedSampler

from engines.training.epochs import EpochDataset, derived_seed
from engines.training.sampling import ClassSampling
from transforms.crops import ANYWHERE, CROP_CLASS, RandBalancedCropd
from transforms.errors import UserError
from transforms.row_counts import counts_file, row_counts

# classes that each image holds: 2 in two images, 3 in one, 4 in none
HELD = ([0, 1], [0, 1, 2], [0], [0, 1, 2, 3], [0, 1])


def folder_of(path: Path, held: Sequence[Sequence[int]] = HELD, counts: bool = False) -> list[dict[str, Any]]:
    """Label maps of 4 rows; row n is of the n-th of the classes that an image holds, further ones of the first."""
    items = []
    for name in ("images", "labels", "row_counts"):
        (path / name).mkdir(parents=True)
    for number, classes in enumerate(held):
        label = np.full((4, 6), classes[0], np.uint8)
        for row, cls in enumerate(classes):
            label[row] = cls
        item = {kind: str(path / f"{kind}s" / f"{number}.npy") for kind in ("image", "label")}
        np.save(item["label"], label)
        np.save(item["image"], np.full(label.shape, number, np.uint16))
        if counts:
            np.save(counts_file(item["label"]), row_counts(label, 5))
        items.append(item)
    return items


def crops_of(items: list[dict[str, Any]], sampling: ClassSampling | None, seed: int = 0) -> EpochDataset:
    transform = Compose(
        [RandBalancedCropd(["image", "label"], 1, 5, ubiquitous=[0, 1]), SelectItemsd(["image", "label"])]
    )
    return EpochDataset(items, transform, seed=seed, repeats=2, sampling=sampling)


def test_frequencies_of_class_image_and_pixel(tmp_path: Path) -> None:
    """3/4 by class: 2 and 3 alike, the images of 2 alike, its six pixels alike; 1/4 anywhere in any image."""
    items = folder_of(tmp_path)
    sampling = ClassSampling(items, 5, ubiquitous=[0, 1], anywhere=0.25)
    assert sampling.classes == [2, 3]
    draws = 20_000
    drawn = Counter(sampling.draw(derived_seed(7, n)) for n in range(draws))
    expected = {(1, 2): 3 / 16, (3, 2): 3 / 16, (3, 3): 3 / 8, **{(n, ANYWHERE): 1 / 20 for n in range(5)}}
    assert set(drawn) == set(expected)
    assert chisquare([drawn[key] for key in expected], [draws * e for e in expected.values()]).pvalue > 1e-3

    crop = RandBalancedCropd(["image", "label"], 1, 5, ubiquitous=[0, 1]).set_random_state(1)
    by_class, anywhere = Counter(), Counter()
    for _ in range(6000):
        assert crop({**items[3], CROP_CLASS: 2})["label"].item() == 2
        by_class[crop._center] += 1
        crop({**items[3], CROP_CLASS: ANYWHERE})
        anywhere[crop._center] += 1
    assert set(by_class) == {(2, column) for column in range(6)}
    assert len(anywhere) == 24
    assert chisquare(list(by_class.values())).pvalue > 1e-3
    assert chisquare(list(anywhere.values())).pvalue > 1e-3


def test_other_crops_may_show_other_classes_instead_of_any_place(tmp_path: Path) -> None:
    """Half of class 3, which one image holds; half of classes 1 and 2 alike, 4 of no image left out."""
    items = folder_of(tmp_path)
    sampling = ClassSampling(items, 5, ubiquitous=[0, 1, 2], anywhere=0.5, others=[1, 2, 4])
    draws = 8000
    drawn = Counter(sampling.draw(derived_seed(3, n)) for n in range(draws))
    expected = {(3, 3): 1 / 2, **{(n, 1): 1 / 16 for n in (0, 1, 3, 4)}, (1, 2): 1 / 8, (3, 2): 1 / 8}
    assert set(drawn) == set(expected)
    assert chisquare([drawn[key] for key in expected], [draws * e for e in expected.values()]).pvalue > 1e-3


def test_two_classes_leave_the_rarer_one(tmp_path: Path) -> None:
    items = folder_of(tmp_path, ([0], [0, 1], [0]))
    sampling = ClassSampling(items, 2, ubiquitous=[0, 1], anywhere=0.0)
    assert sampling.classes == [1]
    assert {sampling.draw(seed) for seed in range(50)} == {(1, 1)}


def test_without_a_rare_class_all_crops_are_placed_anywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mammoseg"):
        sampling = ClassSampling(folder_of(tmp_path, ([0], [0])), 2, ubiquitous=[0, 1], anywhere=0.0)
        assert {sampling.draw(seed) for seed in range(50)} == {(0, ANYWHERE), (1, ANYWHERE)}
    assert "no image holds a rarer class" in caplog.text


def test_kept_counts_are_read_and_wrong_ones_are_not_believed(tmp_path: Path) -> None:
    items = folder_of(tmp_path, counts=True)
    np.save(counts_file(items[2]["label"]), np.ones((5, 4), np.uint32))  # image 2 is all background
    sampling = ClassSampling(items, 5, ubiquitous=[0, 1], anywhere=0.0)
    assert {sampling.draw(seed)[0] for seed in range(100)} == {1, 3}
    # an item whose image lacks the class after all follows the rule of the paper
    crop = RandBalancedCropd(["image", "label"], 1, 5, ubiquitous=[0, 1])
    assert crop({**items[1], CROP_CLASS: 3})["label"].item() == 2


def test_a_missing_label_is_one_line(tmp_path: Path) -> None:
    items = folder_of(tmp_path)
    Path(items[1]["label"]).unlink()
    with pytest.raises(UserError, match=r"labels/1\.npy: no such file"):
        ClassSampling(items, 5).prepare()
    with pytest.raises(ValueError, match=r"from 0 to 1, got 1\.5"):
        ClassSampling(items, 5, anywhere=1.5)


def shown(dataset: EpochDataset, indices: Sequence[int]) -> list[tuple[float, int]]:
    return [(float(dataset[i]["image"]), int(dataset[i]["label"])) for i in indices]


def test_an_epoch_is_a_function_of_seed_stage_epoch_and_item(tmp_path: Path) -> None:
    items = folder_of(tmp_path)
    whole = crops_of(items, ClassSampling(items, 5, [0, 1]))
    epochs = {}
    for key in ((0, 1), (0, 2), (1, 1), (1, 2)):
        whole.epoch_key = key
        epochs[key] = shown(whole, range(10))
    resumed = crops_of(items, ClassSampling(items, 5, [0, 1]))
    resumed.epoch_key = (1, 2)
    assert shown(resumed, reversed(range(10))) == epochs[(1, 2)][::-1]
    assert len({tuple(crops) for crops in epochs.values()}) == 4
    other = crops_of(items, ClassSampling(items, 5, [0, 1]), seed=1)
    other.epoch_key = (1, 2)
    assert shown(other, range(10)) != epochs[(1, 2)]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_any_number_of_processes_sees_the_same_crops(tmp_path: Path, size: int) -> None:
    items = folder_of(tmp_path, HELD[:4])
    alone = crops_of(items, ClassSampling(items, 5, [0, 1]))
    alone.epoch_key = (0, 3)
    expected = Counter(shown(alone, range(8)))
    seen: Counter[tuple[float, int]] = Counter()
    for rank in range(size):
        dataset = crops_of(items, ClassSampling(items, 5, [0, 1]))
        dataset.epoch_key = (0, 3)
        sampler = DistributedSampler(dataset, num_replicas=size, rank=rank, shuffle=True, seed=0)
        sampler.set_epoch(3)
        seen += Counter(shown(dataset, list(sampler)))
    assert seen == expected


def test_without_sampling_items_come_in_turn_as_before(tmp_path: Path) -> None:
    items = folder_of(tmp_path)
    assert [image for image, _ in shown(crops_of(items, None), range(10))] == [0, 1, 2, 3, 4] * 2


def test_a_draw_costs_the_same_for_a_thousand_times_as_many_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100 and 100,000 images, whose classes are made up here: every tenth holds class 2."""
    monkeypatch.setattr(
        ClassSampling, "_classes_in", lambda self, path: np.array([True, True, int(path) % 10 == 0, False, False])
    )
    seconds = []
    for number in (100, 100_000):
        sampling = ClassSampling([{"label": str(n)} for n in range(number)], 5, [0, 1])
        sampling.prepare()
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            drawn = [sampling.draw(seed) for seed in range(500)]
            best = min(best, time.perf_counter() - start)
        assert all(item % 10 == 0 for item, cls in drawn if cls == 2)
        assert max(item for item, _ in drawn) > 0.9 * number
        seconds.append(best)
    assert seconds[1] < 3 * seconds[0]


def test_json_like_options(tmp_path: Path) -> None:
    """What a config passes: items with other keys, and plain numbers."""
    items = [{**item, "subject": "s0"} for item in folder_of(tmp_path)]
    sampling = ClassSampling(**json.loads(json.dumps({"data": items, "num_classes": 5, "ubiquitous": [0, 1]})))
    assert sampling.anywhere == 0.5
