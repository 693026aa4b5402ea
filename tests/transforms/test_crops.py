"""`RandBalancedCropd`: the paper's balanced sampling, exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from transforms.crops import CROP_CLASS, RandBalancedCropd
from transforms.dataset import VOID
from transforms.row_counts import counts_file, kept_row_counts, row_counts


def save(folder: Path, label: np.ndarray, image: np.ndarray | None = None) -> dict[str, Any]:
    np.save(folder / "l.npy", label)
    np.save(folder / "i.npy", np.arange(label.size, dtype=np.uint16).reshape(label.shape) if image is None else image)
    return {"image": str(folder / "i.npy"), "label": str(folder / "l.npy"), "intensity_range": [7, 4095]}


def test_row_counts() -> None:
    assert row_counts(np.array([[0, 1, 1], [2, 2, 9]], np.uint8), 3).tolist() == [[1, 0], [2, 0], [0, 2]]


@settings(max_examples=30, deadline=None)
@given(size=st.tuples(st.integers(1, 80), st.integers(1, 30)), classes=st.integers(1, 256), seed=st.integers(0, 99))
def test_row_counts_of_any_label_map(size: tuple[int, int], classes: int, seed: int) -> None:
    label = np.random.default_rng(seed).integers(0, 256, size).astype(np.uint8)
    expected = [[int((row == c).sum()) for row in label] for c in range(classes)]
    assert row_counts(label, classes).tolist() == expected


def test_kept_row_counts_are_used_if_they_fit(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "row_counts").mkdir()
    label = np.zeros((40, 8), np.uint8)
    label[5, 6] = 1
    data = save(tmp_path / "labels", label)
    path = counts_file(data["label"])
    assert path == tmp_path / "row_counts" / "l.npy"
    assert kept_row_counts(data["label"], label, 2) is None
    np.save(path, row_counts(label, 2))
    assert kept_row_counts(data["label"], label, 2) is not None
    assert kept_row_counts(data["label"], label, 3) is None
    assert kept_row_counts(data["label"], label[:39], 2) is None
    for stale in (7, 0):  # rows of another map: 0 is among those that are compared at once, 7 shows when it is drawn
        other = np.zeros_like(label)
        other[stale, 3] = 1
        np.save(path, row_counts(other, 2))
        crop = RandBalancedCropd(["image", "label"], 1, num_classes=2, ubiquitous=[0])
        assert crop(data)["label"].item() == 1
        assert crop._center == (5, 6)
    path.write_bytes(b"cut")
    assert kept_row_counts(data["label"], label, 2) is None


def test_every_pixel_of_the_rarer_classes_is_drawn_with_its_probability(tmp_path: Path) -> None:
    label = np.zeros((6, 8), np.uint8)
    label[:, 4:] = 1
    label[0, 0] = label[5, 7] = label[3, 2] = 2
    label[2, 5:7] = 3
    data = save(tmp_path, label)
    crop = RandBalancedCropd(["image", "label"], 1, num_classes=4, ubiquitous=[0, 1])
    crop.set_random_state(0)
    drawn: dict[tuple[int, int], int] = {}
    draws = 6000
    for _ in range(draws):
        crop(data)
        drawn[crop._center] = drawn.get(crop._center, 0) + 1
    expected = {(0, 0): 1 / 6, (5, 7): 1 / 6, (3, 2): 1 / 6, (2, 5): 1 / 4, (2, 6): 1 / 4}
    assert set(drawn) == set(expected)
    assert chisquare([drawn[p] for p in expected], [draws * e for e in expected.values()]).pvalue > 1e-3


def test_class_frequencies_of_ten_thousand_crop_centres(tmp_path: Path) -> None:
    """Each class that may be drawn comes equally often, however many pixels it has; the others never."""
    label = np.zeros((60, 50), np.uint8)
    label[:, 25:] = 1
    label[10:40, 10:20], label[50, :3], label[0, 0], label[55:, 40:] = 2, 3, 4, 255
    data = save(tmp_path, label)
    crop = RandBalancedCropd(["image", "label"], 1, num_classes=6, ubiquitous=[0, 1])
    crop.set_random_state(3)
    drawn = np.zeros(256, int)
    for _ in range(10_000):
        crop.randomize((data["label"], label, (1, 1)))
        drawn[label[crop._center]] += 1
    assert set(np.flatnonzero(drawn)) == {2, 3, 4}
    assert chisquare(drawn[2:5]).pvalue > 1e-3


def test_background_only_image(tmp_path: Path) -> None:
    crop = RandBalancedCropd(["image", "label"], 4, num_classes=3, ubiquitous=[0, 1])
    out = crop(save(tmp_path, np.zeros((9, 9), np.uint8)))
    assert out["label"].shape == (1, 4, 4)
    assert not out["label"].any()


def test_nothing_but_void(tmp_path: Path) -> None:
    crop = RandBalancedCropd(["image", "label"], 4, num_classes=3)
    assert (crop(save(tmp_path, np.full((9, 9), 255, np.uint8)))["label"] == 255).all()


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    crop_size=st.integers(1, 48),
    seed=st.integers(0, 99),
)
def test_shape_and_alignment_for_any_size(
    tmp_path_factory: pytest.TempPathFactory, size: tuple[int, int], crop_size: int, seed: int
) -> None:
    label = np.random.default_rng(seed).integers(0, 4, size).astype(np.uint8)
    data = save(tmp_path_factory.mktemp("c"), label, image=label.astype(np.uint16) + 100)
    crop = RandBalancedCropd(["image", "label"], crop_size, num_classes=4)
    out = crop.set_random_state(seed)(data)
    image, truth = out["image"].numpy(), out["label"].numpy()
    assert image.shape == truth.shape == (1, crop_size, crop_size)
    inside = truth != VOID
    assert (image[inside] == truth[inside] + 100).all()
    assert set(image[~inside]) <= set(label.flatten().astype(float) + 100)  # its mirror image
    assert inside.any()


def test_a_crop_may_be_a_rectangle(tmp_path: Path) -> None:
    label = np.zeros((50, 60), np.uint8)
    label[30, 20] = 1
    out = RandBalancedCropd(["image", "label"], (11, 5), num_classes=2, ubiquitous=[0])(save(tmp_path, label))
    assert out["image"].shape == out["label"].shape == (1, 11, 5)
    assert out["label"][0, 5, 2] == 1
    half = RandBalancedCropd(["image", "label"], (10, 4), 2, [0], image_height=25)(save(tmp_path, label))
    assert half["image"].shape == (1, 10, 4)


def test_small_images_are_continued_by_their_mirror_image(tmp_path: Path) -> None:
    data = save(tmp_path, np.ones((3, 1), np.uint8), image=np.array([[1], [2], [3]], np.uint16))
    out = RandBalancedCropd(["image", "label"], 5, num_classes=2)(data)
    assert out["image"][0].tolist() == [[1] * 5, [1] * 5, [2] * 5, [3] * 5, [3] * 5]
    assert (out["label"][0, 1:4, 2] == 1).all()
    assert int((out["label"] == VOID).sum()) == 22


def test_the_chosen_pixel_is_in_the_crop_and_centred_away_from_borders(tmp_path: Path) -> None:
    label = np.zeros((50, 60), np.uint8)
    label[30, 20] = 1
    crop = RandBalancedCropd(["image", "label"], 11, num_classes=2, ubiquitous=[0])
    assert crop(save(tmp_path, label))["label"][0, 5, 5] == 1
    label[:] = 0
    label[0, 59] = 1
    assert RandBalancedCropd(["image", "label"], 11, 2, [0])(save(tmp_path, label))["label"][0, 0, 10] == 1


def test_working_resolution_averages_and_keeps_the_crop_size(tmp_path: Path) -> None:
    image = np.zeros((64, 64), np.uint16)
    image[::2] = 100
    crop = RandBalancedCropd(["image", "label"], 8, num_classes=1, image_height=16)
    out = crop(save(tmp_path, np.zeros((64, 64), np.uint8), image))
    assert out["image"].shape == (1, 8, 8)
    assert abs(out["image"][0, 2:-2, 2:-2] - 50).max() < 5


def test_the_stored_arrays_are_never_written_to(tmp_path: Path) -> None:
    data = save(tmp_path, np.ones((9, 9), np.uint8))
    before = (tmp_path / "i.npy").read_bytes(), dict(data)
    RandBalancedCropd(["image", "label"], 4, num_classes=2)(data)
    assert ((tmp_path / "i.npy").read_bytes(), data) == before


def test_the_pixel_of_a_wanted_class_lies_anywhere_in_the_middle_half(tmp_path: Path) -> None:
    label = np.zeros((100, 80), np.uint8)
    label[50, 40] = 2
    data = save(tmp_path, label)
    crop = RandBalancedCropd(["image", "label"], (40, 24), num_classes=3, ubiquitous=[0]).set_random_state(0)
    places = [np.argwhere(crop({**data, CROP_CLASS: 2})["label"][0].numpy() == 2) for _ in range(400)]
    assert all(len(place) == 1 for place in places)
    rows, columns = np.concatenate(places).T
    assert set(rows) == set(range(10, 31))
    assert set(columns) == set(range(6, 19))
    corner = np.zeros((100, 80), np.uint8)
    corner[0, 79] = 2
    data = save(tmp_path, corner)
    assert all((crop({**data, CROP_CLASS: 2})["label"] == 2).sum() == 1 for _ in range(50))
