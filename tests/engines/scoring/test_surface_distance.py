"""Surface distances of shapes whose distance is known."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from engines.scoring.surface_distance import SurfaceDistance, hausdorff95


def mask(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Boxes of (top, left, height, width) in 40 x 40."""
    out = np.zeros((40, 40), bool)
    for top, left, height, width in boxes:
        out[top : top + height, left : left + width] = True
    return out


NOTHING = mask()


def test_distance_of_shifted_squares() -> None:
    square, shifted = mask((5, 5, 10, 10)), mask((5, 8, 10, 10))
    assert hausdorff95(square, square, (0.1, 0.1)) == 0
    assert hausdorff95(square, shifted, (1.0, 0.5)) == pytest.approx(1.5)  # three columns of half a millimeter
    assert hausdorff95(square.T, shifted.T, (0.2, 1.0)) == pytest.approx(0.6)
    assert math.isnan(hausdorff95(square, NOTHING, (1.0, 1.0)))
    assert math.isnan(hausdorff95(NOTHING, NOTHING, (1.0, 1.0)))


def test_an_outlier_does_not_decide() -> None:
    square, speck = mask((5, 5, 10, 10)), mask((5, 5, 10, 10), (38, 38, 1, 1))
    assert hausdorff95(square, speck, (1.0, 1.0)) < 1


def test_distances_of_a_case_and_of_one_without_spacing() -> None:
    handler = SurfaceDistance(["background", "gland", "tumor"], {"a": [0.5, 0.5], "b": None})
    label = torch.zeros(1, 40, 40, dtype=torch.uint8)
    label[0, 5:15, 5:15] = 1
    pred = label.roll(2, dims=2)
    for case in ("a", "b"):
        batch, output = [{"subject": "s", "case": case}], [{"label": label, "pred": pred}]
        handler._measure(SimpleNamespace(state=SimpleNamespace(batch=batch, output=output)))
    assert handler.unscaled == 1
    assert handler.scores() == pytest.approx({"hd95_mm/gland": 1.0, "hd95_mm/tumor": math.nan}, nan_ok=True)
