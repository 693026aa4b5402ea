"""Candidates against their definition, written down as a few lines of SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lesion_definition import definition
from scipy.ndimage import gaussian_filter

from transforms.candidates import divided, find_candidates


def whole(p: np.ndarray) -> list[tuple[float, np.ndarray]]:
    out = []
    for candidate in find_candidates(p):
        region = np.zeros(p.shape, bool)
        region[candidate.slices] = candidate.region
        out.append((candidate.score, region))
    return out


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 100_000),
    sigma=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    power=st.sampled_from([1, 3, 6]),
    levels=st.sampled_from([0, 4, 8]),
    kind=st.sampled_from([np.float32, np.float64]),
    size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
)
def test_equal_to_the_definition(
    seed: int, sigma: float, power: int, levels: int, kind: type, size: tuple[int, int]
) -> None:
    p = np.random.default_rng(seed).random(size)
    p = gaussian_filter(p, sigma) if sigma else p
    p = ((p - p.min()) / max(p.max() - p.min(), 1e-9)) ** power
    p = np.round(p * levels) / levels if levels else p  # plateaus and equal peaks
    expected, found = definition(p.astype(kind)), whole(p.astype(kind))
    assert [score for score, _ in found] == [score for score, _ in expected]
    for (_, region), (_, other) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(region, other)
    candidates, belonging = divided(p.astype(kind))
    for number, (candidate, (_, region)) in enumerate(zip(candidates, found, strict=True), start=1):
        assert (belonging[region] == number).all()
        assert p.astype(kind)[belonging == number].max() == candidate.score
    assert (belonging[p.astype(kind) >= 0.01] > 0).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 100_000))
def test_regions_are_disjoint_and_large_maps_are_no_exception(seed: int) -> None:
    p = gaussian_filter(np.random.default_rng(seed).random((120, 90)), 3).astype(np.float32)
    p = ((p - p.min()) / (p.max() - p.min())) ** 4
    times = np.sum([region for _, region in whole(p)], axis=0)
    assert times.max() == 1


def test_a_slope_belongs_to_the_peak_above_it_and_so_does_a_low_peak_on_it() -> None:
    row = np.array([[0.9, 0.5, 0.2, 0.3, 0.1, 0.7, 0.001]])
    candidates, belonging = divided(row)
    assert [(c.score, c.box) for c in candidates] == [(0.9, (0, 0, 1, 2)), (0.7, (0, 5, 1, 6))]
    assert belonging.tolist() == [[1, 1, 1, 1, 2, 2, 0]]  # the peak of 0.3 is no candidate: the pass to 0.9 is 0.2


def test_two_peaks_over_a_pass_of_half_the_lower_one_are_one_candidate() -> None:
    row = np.array([[0.0, 0.8, 0.3, 0.6, 0.0]])
    assert [(c.score, c.box) for c in find_candidates(row)] == [(0.8, (0, 1, 1, 2))]  # 0.3 is not lower than 0.6 / 2
    row[0, 2] = 0.29
    assert [(c.score, c.box) for c in find_candidates(row)] == [(0.8, (0, 1, 1, 2)), (0.6, (0, 3, 1, 4))]


def test_equal_peaks() -> None:
    assert [c.center for c in find_candidates(np.array([[0.8, 0.5, 0.8]]))] == [(0, 0)]
    assert [c.center for c in find_candidates(np.array([[0.8, 0.3, 0.8]]))] == [(0, 0), (0, 2)]


def test_the_center_of_a_plateau_and_diagonal_neighbors() -> None:
    p = np.zeros((9, 9))
    p[2:7, 2:7] = 1.0
    p[7, 7] = 0.5  # touches a corner
    (only,) = find_candidates(p)
    assert (only.score, only.center, only.box, only.region.sum()) == (1.0, (4, 4), (2, 2, 8, 8), 26)


def test_what_is_too_low_or_no_number() -> None:
    p = np.zeros((4, 4), np.float32)
    assert find_candidates(p) == []
    p[1, 1] = 0.0099
    assert find_candidates(p) == []
    p[1, 1], p[3, 3] = 0.01, np.nan
    assert len(find_candidates(p, 0.009)) == 1


@pytest.mark.parametrize(("shape", "floor"), [((2, 3, 3), 0.01), ((3, 3), 0.0)])
def test_refused(shape: tuple[int, ...], floor: float) -> None:
    with pytest.raises(ValueError, match=r"expected a map \(H, W\) and a floor above 0"):
        find_candidates(np.zeros(shape), floor)
