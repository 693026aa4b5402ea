"""Boundary scores against MONAI, SciPy and results by hand."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter

from engines.scoring import boundary
from engines.scoring.boundary import boundaries, edge_points, nearest

CLASSES = 4


def clouds(seed: int, size: tuple[int, int] = (70, 51), smooth: float = 3) -> np.ndarray:
    """A map of classes in patches."""
    field = gaussian_filter(np.random.default_rng(seed).normal(0, 1, size), smooth)
    return np.digitize(field, np.quantile(field, [0.3, 0.6, 0.85])).astype(np.uint8)


def noise(seed: int, size: tuple[int, int] = (40, 33)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, CLASSES, size, dtype=np.uint8)


def by_scipy(truth: np.ndarray, pred: np.ndarray, spacing: tuple[float, float], tolerance: float) -> tuple[float, ...]:
    """Of two masks, in double precision, by erosion and distance transforms."""
    edges = [mask & ~binary_erosion(mask) for mask in (truth, pred)]
    away = [distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    forth, back = away[0][edges[1]], away[1][edges[0]]
    near = (forth <= tolerance).sum() + (back <= tolerance).sum()
    bands = [mask & (distance <= tolerance) for mask, distance in zip((truth, pred), away, strict=True)]
    iou = (bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum()
    return near / (len(forth) + len(back)), max(np.percentile(forth, 95), np.percentile(back, 95)), iou


MAPS = {
    "patches": (clouds(0), clouds(1)),
    "nearly right": (clouds(0), np.roll(clouds(0), (2, -1), (0, 1))),
    "noise": (noise(0), noise(1)),
    "patches and noise": (clouds(0, (40, 33)), noise(1)),
    "fine": (clouds(2, smooth=0.8), clouds(3, smooth=0.8)),
}


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.07, 0.07), (0.05, 0.11)], ids=str)
@pytest.mark.parametrize("name", MAPS)
def test_every_class_as_by_scipy(name: str, spacing: tuple[float, float]) -> None:
    truth, pred = MAPS[name]
    tolerance = 2.3 * spacing[0]
    for c, found in enumerate(boundaries(truth, pred, CLASSES, spacing, tolerance)):
        expected = by_scipy(truth == c, pred == c, spacing, tolerance)
        assert (found.nsd, found.hd95, found.iou) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", MAPS)
def test_every_class_as_by_monai(name: str) -> None:
    truth, pred = MAPS[name]
    spacing, tolerance = (0.5, 0.25), 1.1
    found = boundaries(truth, pred, CLASSES, spacing, tolerance)
    one_hot = [torch.from_numpy(np.stack([m == c for c in range(CLASSES)]))[None].float() for m in (pred, truth)]
    with warnings.catch_warnings():  # MONAI calls a part of its own that it has deprecated
        warnings.simplefilter("ignore", FutureWarning)
        settings = {"include_background": True, "spacing": spacing}
        nsd = compute_surface_dice(*one_hot, class_thresholds=[tolerance] * CLASSES, **settings)[0]
        hd95 = compute_hausdorff_distance(*one_hot, percentile=95, **settings)[0]
    assert [one.nsd for one in found] == pytest.approx(nsd.tolist(), abs=1e-6)  # MONAI's results are single precision
    assert [one.hd95 for one in found] == pytest.approx(hd95.tolist(), rel=1e-5)


def test_two_squares_by_hand() -> None:
    truth, pred = np.zeros((2, 20, 20), np.uint8)
    truth[5:10, 5:10] = 1  # 16 boundary pixels
    pred[5:10, 7:12] = 1
    square = boundaries(truth, pred, 2, (1.0, 1.0), 1.0)[1]
    # of the prediction's boundary, columns 7 to 10 of its first and last row are 0 or 1 away, as are (6, 7) and (8, 7)
    assert square.nsd == 2 * 10 / 32
    assert square.hd95 == 2
    assert square.iou == 13 / 35  # bands of 24 (all but the center); 15 shared pixels less the two centers


def test_classes_that_one_map_or_both_lack() -> None:
    truth, pred = np.zeros((2, 9, 9), np.uint8)
    truth[2:5, 2:5] = 1
    pred[2:5, 2:5] = 2
    found = boundaries(truth, pred, 4, (1.0, 1.0), 1.0)
    assert (found[0].nsd, found[0].hd95, found[0].iou) == (1, 0, 1)
    assert [(one.nsd, one.iou) for one in found[1:3]] == [(0, 0), (0, 0)]
    assert math.isnan(found[1].hd95)
    assert all(map(math.isnan, (found[3].nsd, found[3].hd95, found[3].iou)))


def test_void_is_no_class_in_either_map() -> None:
    truth, pred = np.zeros((2, 12, 12), np.uint8)
    truth[3:8, 3:8], pred[3:8, 3:11] = 1, 1
    truth[3:8, 8:11] = 255
    assert boundaries(truth, pred, 2, (1.0, 1.0), 1.0)[1] == boundary.Boundary(1.0, 0.0, 1.0)


def test_boundary_pixels_touch_another_class_or_the_edge_of_the_image() -> None:
    label = np.zeros((4, 5), np.uint8)
    label[1:3, 1:4] = 3
    assert sorted(map(tuple, edge_points(label, 4)[3].tolist())) == [(r, c) for r in (1, 2) for c in (1, 2, 3)]
    assert len(edge_points(label, 4)[0]) == 14
    assert len(edge_points(np.zeros((4, 5), np.uint8), 1)[0]) == 14  # all but the inner 2 x 3


@pytest.mark.parametrize("count", [3, 400])
def test_nearest_is_exact_far_away_too(count: int) -> None:
    rng = np.random.default_rng(count)
    points, others = rng.integers(0, 200, (50, 2)), rng.integers(0, 200, (count, 2))
    spacing = (0.3, 0.7)
    expected = np.sqrt((((points[:, None] - others[None]) * spacing) ** 2).sum(axis=2)).min(axis=1)
    assert nearest(points, others, spacing) == pytest.approx(expected, abs=1e-12)
