"""Replicas of training images: each technique does what its name says, and label and image stay aligned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from transforms.replicas import TECHNIQUES, replica, techniques

KEYS = ("image", "label")
RANGE = (0, 4095)


def sample() -> dict[str, torch.Tensor]:
    """A bright square off the middle, which is the only structure, on gray, and one pixel brighter still."""
    label = torch.zeros(1, 48, 40, dtype=torch.uint8)
    label[:, 8:20, 6:16] = 1
    image = 1000.0 + 2000.0 * label.float()
    image[0, 12, 10] = 4000.0
    return {"image": image, "label": label}


def made(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    out = replica(number, KEYS, RANGE).set_random_state(seed)(sample())
    return np.asarray(out["image"]), np.asarray(out["label"])


def test_which_technique_makes_which_replica() -> None:
    assert techniques(0) == ()
    assert [techniques(number) for number in range(1, 7)] == [(name,) for name in TECHNIQUES]
    assert techniques(7) == ("mirror", "rotation")
    assert techniques(12) == ("contrast", "mirror")
    assert len({frozenset(techniques(number)) for number in range(1, 10)}) == 9
    assert len({techniques(number) for number in range(36)}) == 36


@pytest.mark.parametrize("number", range(14))
def test_shape_range_classes_and_seed(number) -> None:
    image, label = made(number)
    assert image.shape == label.shape == (1, 48, 40)
    assert RANGE[0] <= image.min() <= image.max() <= RANGE[1]
    assert set(np.unique(label)) == {0, 1}
    np.testing.assert_array_equal(made(number)[0], image)
    if number:
        assert not np.allclose(image, sample()["image"])


@pytest.mark.parametrize("number", [0, 1, 2])
def test_image_and_label_move_together(number) -> None:
    image, label = made(number, seed=4)
    inside = image[0][label[0] == 1]
    outside = image[0][label[0] == 0]
    assert np.median(inside) == pytest.approx(3000, abs=1)
    assert np.median(outside) == pytest.approx(1000, abs=1)


def test_mirror_and_identity_are_exact() -> None:
    original = sample()
    image, label = made(0)
    np.testing.assert_allclose(image, original["image"], atol=1e-3)
    np.testing.assert_array_equal(label, original["label"])
    image, label = made(1)
    np.testing.assert_allclose(image[..., ::-1], original["image"], atol=1e-3)
    np.testing.assert_array_equal(label[..., ::-1], original["label"])


@pytest.mark.parametrize("number", [3, 4, 5, 6])
def test_the_others_leave_the_label_alone(number) -> None:
    np.testing.assert_array_equal(made(number)[1], sample()["label"])


def test_smoothing_lessens_edges_and_sharpening_and_noise_do_not() -> None:
    def edge(image: np.ndarray) -> float:
        return float(np.abs(np.diff(image, axis=2)).max())

    assert edge(made(3)[0]) < edge(made(0)[0]) <= edge(made(4)[0])
    assert made(5)[0][0, 30:, 20:].std() == pytest.approx(0.02 * RANGE[1], rel=0.5)


@pytest.mark.parametrize("number", [3, 4])
def test_filters_draw_no_frame(number) -> None:
    image = replica(number, KEYS, RANGE)({"image": torch.full((1, 20, 9), 1000.0), "label": torch.zeros(1, 20, 9)})
    np.testing.assert_allclose(np.asarray(image["image"]), 1000.0, rtol=1e-3)
