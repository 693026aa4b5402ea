"""The lesions of results are the candidates that an evaluation counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from engines.scoring.matching import judge
from transforms.decision import Decision
from transforms.outputs.findings import findings
from transforms.outputs.geojson import features
from transforms.outputs.prediction import Prediction
from transforms.working_resolution import upsampled_argmax, upsampled_probability

CLASSES = ("background", "mass", "distortion")
LESIONS = (1, 2)


def segmented(logits: torch.Tensor, size: tuple[int, int], threshold: float | None, **options: Any) -> Prediction:
    decision = None if threshold is None else Decision(LESIONS, threshold)
    label = upsampled_argmax(logits, size, decision=decision)[0].numpy()
    return Prediction(label, CLASSES, Path(), "a", logits=logits, **options)


def logits_of(*probabilities: list[list[float]]) -> torch.Tensor:
    """Logits (3, h, w) from the probabilities of mass and distortion."""
    lesions = torch.tensor(probabilities, dtype=torch.float32)
    return torch.cat([1 - lesions.sum(0, keepdim=True), lesions]).clamp(1e-6).log()


def outlines(prediction: Prediction) -> list[tuple[str, float, float]]:
    """Class, score and area of each annotation."""
    found = [feature["properties"] for feature in features(prediction)]
    return [
        (p["classification"]["name"], p["measurements"]["Score"], p["measurements"]["Predicted area px"]) for p in found
    ]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 100_000),
    threshold=st.sampled_from([None, 0.1, 0.3, 0.792]),
    score=st.sampled_from([0.05, 0.3, 0.792]),
)
def test_counted_like_in_an_evaluation(seed: int, threshold: float | None, score: float) -> None:
    """Number, scores, and those from a minimum score on; the outlines of all lesions are the mask."""
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(gaussian_filter(6 * rng.normal(size=(3, 12, 10)), (0, 1, 1)).astype(np.float32))
    size = (40, 31)
    prediction = segmented(logits, size, threshold, min_lesion_score=score)
    p = upsampled_probability(logits, LESIONS, size).numpy()
    mask = np.isin(prediction.label, LESIONS)
    judged = judge("s", "c", np.zeros(size, bool), mask, p)
    counted = [candidate.score for candidate in judged.candidates if candidate.score >= score]
    row = findings(prediction)
    assert row["lesions"] == str(len(counted))
    assert row["lesion_scores"] == " ".join(f"{each:.4f}" for each in counted)
    all_of_it = segmented(logits, size, threshold)
    assert sum(lesion.pixels for lesion in all_of_it.found_lesions) == mask.sum()
    assert sum(area for _, _, area in outlines(all_of_it)) == mask.sum()
    listed = {f"{each:.4f}" for each in counted}
    assert {f"{each:.4f}" for _, each, _ in outlines(prediction)} <= listed


@pytest.mark.parametrize(
    ("row", "threshold", "score", "scores", "areas"),
    [
        # one component of the mask with two candidates: each has its own part
        ([0.9, 0.4, 0.85, 0.0], 0.3, 0.3, "0.9000 0.8500", [2, 1]),
        # two components, but one candidate, since the probability between them is not below half
        ([0.9, 0.6, 0.85, 0.0], 0.8, 0.8, "0.9000", [2]),
        # a candidate below the mask's threshold is counted, and has no outline
        ([0.9, 0.0, 0.4, 0.0], 0.5, 0.3, "0.9000 0.4000", [1]),
        # above it, but with too low a score: neither
        ([0.9, 0.0, 0.6, 0.0], 0.5, 0.7, "0.9000", [1]),
    ],
    ids=["two in one component", "one in two components", "below the mask", "low score"],
)
def test_candidates_and_components(
    row: list[float], threshold: float, score: float, scores: str, areas: list[int]
) -> None:
    logits = logits_of([row], [[0.0] * len(row)])
    prediction = segmented(logits, (1, len(row)), threshold, min_lesion_score=score)
    assert findings(prediction)["lesion_scores"] == scores
    assert [area for _, _, area in outlines(prediction)] == areas


def test_one_lesion_of_two_classes_connected_over_a_corner() -> None:
    mass = [[0.8, 0.0, 0.0], [0.0, 0.0, 0.0]]
    distortion = [[0.0, 0.0, 0.0], [0.0, 0.7, 0.6]]
    prediction = segmented(logits_of(mass, distortion), (2, 3), 0.5, min_lesion_score=0.5)
    row = findings(prediction)
    assert (row["lesions"], row["largest_lesion_class"], row["largest_lesion_px"]) == ("1", "distortion", "3")
    assert [row[f"largest_lesion_{key}"] for key in ("left", "top", "width", "height")] == ["0", "0", "3", "2"]
    expected = [("mass", 0.8, 1), ("distortion", 0.8, 2)]
    assert outlines(prediction) == expected
    alone = Prediction(prediction.label, CLASSES, Path(), "a")  # without logits, by the mask
    assert (findings(alone)["lesions"], findings(alone)["lesion_scores"]) == ("1", "")


def test_a_lesion_without_a_pixel_of_the_mask_has_its_candidates_box() -> None:
    prediction = segmented(logits_of([[0.0, 0.1, 0.1, 0.0]], [[0.0, 0.3, 0.2, 0.0]]), (1, 4), 0.9, min_lesion_score=0.2)
    row = findings(prediction)
    assert (row["lesions"], row["lesion_scores"], row["largest_lesion_class"]) == ("1", "0.4000", "distortion")
    assert (row["largest_lesion_left"], row["largest_lesion_width"], row["largest_lesion_px"]) == ("1", "2", "0")
    assert json.dumps(list(features(prediction))) == "[]"
