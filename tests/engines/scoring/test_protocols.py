"""Protocols of publications, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engines.scoring.lesion_crops import crop_counts
from engines.scoring.matching import ImageLesions, Lesion, judge
from engines.scoring.protocols import PROTOCOLS, measured

LESION = Lesion(10, 0.01, None, (0, 0, 3, 3), 0.9, 0.5)


def image(subject: str, view: str, truth: int, predicted: int, shared: int, best: int | None = None) -> ImageLesions:
    """Of 10 lesion pixels, `best` are in the mask of a threshold of 0.6; at 0.2 all are, and 10 others."""
    histogram = None
    if best is not None:
        histogram = (((200, truth - best), (600, best)), ((200, 10),))
    lesions = (LESION,) if truth else ()
    return ImageLesions(subject, f"{subject}_{view}", truth, predicted, shared, lesions, (), histogram)


IMAGES = [
    image("a", "L", 10, 10, 5),  # Dice 0.5
    image("a", "R", 10, 30, 10),  # 0.5
    image("b", "L", 10, 0, 0),  # 0
    image("b", "R", 0, 0, 0),  # normal, empty
    image("c", "L", 0, 20, 0),  # normal, not empty
]


def values(images: list[ImageLesions]) -> dict[str, float]:
    return {protocol.name: found.value for protocol in PROTOCOLS if (found := measured(protocol, images)) is not None}


def test_pooled_and_means_by_hand() -> None:
    found = values(IMAGES)
    assert found == pytest.approx(
        {
            "pooled": 30 / 90,  # 2 (5 + 10) / (30 + 60)
            "pooled_lesion_images": 30 / 70,
            "mean_lesion_images": 1 / 3,
            "mean_all_images": (0.5 + 0.5 + 0 + 1 + 0) / 5,
        }
    )  # without histograms and crops nothing else is known


def test_the_mask_of_a_threshold_is_left_alone() -> None:
    point = [replace(each, argmax=(each.predicted, each.shared), predicted=1, shared=1) for each in IMAGES]
    assert values(point) == values(IMAGES)


def test_thresholds_of_others_of_all_and_of_each_image() -> None:
    # Dice at 0.6: 2 best / (10 + best), at 0.2: 20 / 30
    images = [image("a", "L", 10, 0, 0, 10), image("a", "R", 10, 0, 0, 10), image("b", "L", 10, 0, 0, 0)]
    found = values(images)
    # all: at 0.6 (1 + 1 + 0) / 3, at 0.2 all have 2/3: the middle of the lower thresholds, where it is as good
    assert found["threshold_of_all"] == pytest.approx(2 / 3)
    assert found["threshold_per_image"] == pytest.approx((1 + 1 + 2 / 3) / 3)
    # a's threshold is that of b (0.2), b's is that of a (0.6)
    assert found["threshold_of_other_subjects"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    # each image of a: at 0.6 (1 + 0) / 2, at 0.2 2/3; b as before
    assert found["split_by_image"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    images = [*images, image("a", "O", 10, 0, 0, 10), image("a", "P", 10, 0, 0, 10)]
    found = values(images)
    assert found["threshold_of_other_subjects"] == pytest.approx(4 * 2 / 3 / 5)
    assert found["split_by_image"] == pytest.approx(4 / 5)  # other images of a say what is best for a


def test_intervals_are_over_subjects_or_over_images() -> None:
    images = [image("a", "L", 10, 0, 0, 10), image("a", "R", 10, 0, 0, 10), image("b", "L", 10, 0, 0, 0)]
    counted = {p.name: measured(p, images) for p in PROTOCOLS}
    sizes = {name: len(measure.numerator) for name, measure in counted.items() if measure is not None}
    assert sizes.pop("split_by_image") == 3
    assert set(sizes.values()) == {2}


def test_crops_are_twice_as_large_and_cut_at_the_image() -> None:
    truth, mask = np.zeros((2, 20, 20), bool)
    truth[8:12, 8:12] = True  # the crop: rows and columns 6 to 13
    truth[0:2, 0:4] = True  # the crop: rows 0 to 2, columns 0 to 5
    mask[8:12, 6:12] = True
    mask[15:, 15:] = True  # outside of both
    mask[0, 0] = True
    probability = np.where(truth, 0.7, np.where(mask, 0.6, 0.1))
    valid = np.ones((20, 20), bool)
    first, second = crop_counts([(8, 8, 12, 12), (0, 0, 2, 4)], truth, mask, probability, valid)
    assert first == (16, 24, 16, 16, 16)
    assert second == (8, 1, 1, 8, 8)
    judged = judge("s", "s_L", truth, mask, probability)
    assert sorted(judged.crops) == sorted([first, second])
    found = values([judged])
    assert found["crop"] == pytest.approx((2 * 16 / 40 + 2 / 9) / 2)
    assert found["crop_threshold"] == 1
    valid[:, :7] = False  # void
    assert crop_counts([(8, 8, 12, 12)], truth, mask, probability, valid)[0][:3] == (16, 20, 16)
