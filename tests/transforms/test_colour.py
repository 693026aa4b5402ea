"""Color photographs on their way to a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from transforms.channels import ThreeChannelsd, channels_first
from transforms.crops import RandBalancedCropd
from transforms.dataset import VOID
from transforms.errors import UserError
from transforms.load import LoadWholed
from transforms.reading.photographs import read_photograph
from transforms.saturation import RandSaturationd


def test_channels() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    image = channels_first(pixels)
    assert image.shape == (3, 2, 4)
    assert image[1, 0, 2] == pixels[0, 2, 1]
    assert channels_first(pixels[..., 0]).shape == (1, 2, 4)
    assert torch.equal(ThreeChannelsd("i")({"i": image})["i"], image)
    assert torch.equal(ThreeChannelsd("i")({"i": image[:1]})["i"], image[:1].repeat(3, 1, 1))


def test_saturation_by_hand() -> None:
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(3, 1, 1)
    transform = RandSaturationd("i", prob=1.0, factor=1.0)
    transform.set_random_state(0)
    out = transform({"i": red})["i"].flatten()
    f = transform._f
    assert 0 <= f <= 2
    assert torch.allclose(out, torch.tensor([0.299 + 0.701 * f, 0.299 - 0.299 * f, 0.299 - 0.299 * f]))
    assert red.flatten().tolist() == [1.0, 0.0, 0.0]  # the input is left alone


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=3), seed=st.integers(0, 1000))
def test_saturation_keeps_the_brightness(values: list[float], seed: int) -> None:
    transform = RandSaturationd("i", prob=1.0, factor=0.5)
    transform.set_random_state(seed)
    pixel = torch.tensor(values).reshape(3, 1, 1)
    weights = torch.tensor([0.299, 0.587, 0.114]).reshape(3, 1, 1)
    assert torch.allclose((transform({"i": pixel})["i"] * weights).sum(), (pixel * weights).sum(), atol=1e-6)


def test_saturation_leaves_gray_alone_and_happens_as_often_as_told() -> None:
    gray = torch.rand(1, 4, 4)
    assert torch.equal(RandSaturationd("i", prob=1.0)({"i": gray})["i"], gray)
    transform = RandSaturationd("i", prob=0.5)
    transform.set_random_state(1)
    image = torch.rand(3, 4, 4)
    changed = sum(not torch.equal(transform({"i": image})["i"], image) for _ in range(400))
    assert 150 < changed < 250
    with pytest.raises(ValueError, match="factor must be from 0 to 1"):
        RandSaturationd("i", factor=2)


def test_crops_and_whole_images_of_colour_photographs(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "i.npy", pixels)
    np.save(tmp_path / "l.npy", np.zeros((10, 8), np.uint8))
    data = {"image": str(tmp_path / "i.npy"), "label": str(tmp_path / "l.npy")}
    crop = RandBalancedCropd(["image", "label"], 4, num_classes=1)
    crop.set_random_state(0)
    out = crop(data)
    row, column = crop._center
    top, left = min(max(row - 2, 0), 6), min(max(column - 2, 0), 4)
    assert torch.equal(out["image"], channels_first(pixels[top : top + 4, left : left + 4]))
    crop.crop_size = 12
    large = crop(data)
    assert large["image"].shape == (3, 12, 12)
    assert (large["label"] == VOID).sum() == 144 - 80
    assert torch.equal(LoadWholed("image")(data)["image"], channels_first(pixels))


def test_unbalanced_crops_lie_everywhere_equally_often(tmp_path: Path) -> None:
    label = np.zeros((6, 5), np.uint8)
    label[0, 0] = 1  # would be the center of every balanced crop
    np.save(tmp_path / "i.npy", label)
    np.save(tmp_path / "l.npy", label)
    crop = RandBalancedCropd(["image", "label"], 3, num_classes=2, ubiquitous=[0], balanced=False)
    crop.set_random_state(0)
    places: dict[tuple[int, int], int] = {}
    for _ in range(6000):
        crop({"image": str(tmp_path / "i.npy"), "label": str(tmp_path / "l.npy")})
        places[crop._center] = places.get(crop._center, 0) + 1
    assert set(places) == {(row, column) for row in range(1, 5) for column in range(1, 4)}
    assert all(400 < count < 600 for count in places.values())


def test_photographs_are_read_as_colour_and_refused_with_a_reason(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3), (10, 20, 30)).save(tmp_path / "a.png")
    photograph = read_photograph(tmp_path / "a.png")
    assert photograph.pixels.shape == (3, 4, 3)
    assert photograph.pixels[0, 0].tolist() == [10, 20, 30]
    np.save(tmp_path / "a.npy", photograph.pixels)
    assert np.array_equal(read_photograph(tmp_path / "a.npy").pixels, photograph.pixels)
    np.save(tmp_path / "a.npy", photograph.pixels[..., 0])
    with pytest.raises(UserError, match=r"uint8 of shape \(3, 4\); expected uint8 \(rows, columns, 3\)"):
        read_photograph(tmp_path / "a.npy")
    Image.fromarray(np.zeros((3, 4), np.uint16)).save(tmp_path / "b.png")
    with pytest.raises(UserError, match="8 bits per channel"):
        read_photograph(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"nothing")
    with pytest.raises(UserError, match="or damaged"):
        read_photograph(tmp_path / "c.png")
    with pytest.raises(UserError, match="no such file"):
        read_photograph(tmp_path / "d.png")
