"""Random stream of the phantom, restricted to operations whose results numpy guarantees.

numpy guarantees the raw bits of a BitGenerator and of SeedSequence across versions and machines (NEP 19), but not the
results of `Generator.normal` or `Generator.integers`; the few draws needed are therefore implemented here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from scipy import ndimage

Choice = TypeVar("Choice")

# Standard deviation of a uniform(-1, 1) lattice smoothed by the 2-D cubic B-spline, averaged over positions.
_SPLINE_STD = 151 / 315 / np.sqrt(3)
_LATTICE = 64  # cells per side of a texture that is sampled at arbitrary positions
_FINE = 4  # its points per cell, with linear interpolation between them


class Draws:
    """A stream of random numbers, identified by a seed and a place such as (subject, breast, view)."""

    def __init__(self, seed: int, *place: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=place))

    def _unit(self, count: int) -> np.ndarray:
        return (self._bits.random_raw(count) >> np.uint64(11)) * 2.0**-53

    def uniform(self, low: float, high: float) -> float:
        """Draw one number in [low, high)."""
        return low + (high - low) * float(self._unit(1)[0])

    def uniforms(self, low: float, high: float, count: int) -> np.ndarray:
        """Draw (count,) numbers in [low, high)."""
        return low + (high - low) * self._unit(count)

    def integer(self, low: int, high: int) -> int:
        """Draw one integer from low to high, both included."""
        return low + int(self.uniform(0, high - low + 1))

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self.uniform(0, 1) < probability

    def choose(self, options: Sequence[Choice]) -> Choice:
        """Draw one of the options, all equally likely."""
        return options[self.integer(0, len(options) - 1)]

    def noise(self, shape: tuple[int, int]) -> np.ndarray:
        """Draw white noise of `shape`, mean 0 and variance 1: approximately Gaussian, without log or exp."""
        return (self._unit(4 * shape[0] * shape[1]).reshape(4, *shape).sum(0) - 2) * np.sqrt(3)

    def texture(self, rows: np.ndarray, columns: np.ndarray, cell: float) -> np.ndarray:
        """Draw a smooth random field, mean 0 and variance about 1, with blobs about two `cell`s wide.

        rows (H,) and columns (W,) are positions in the unit of `cell`; the result is (H, W). The lattice is defined in
        positions, not pixels: a finer grid shows the same blobs.
        """
        (first, weights_r), (second, weights_c) = _spline(rows, cell), _spline(columns, cell)
        size = (int(first.max()) + 4, int(second.max()) + 4)
        lattice = 2 * self._unit(size[0] * size[1]).reshape(size) - 1
        wide = sum(w * lattice[:, second + k] for k, w in enumerate(weights_c)) / _SPLINE_STD
        return sum(w[:, None] * wide[first + k] for k, w in enumerate(weights_r))

    def fractal(self, rows: np.ndarray, columns: np.ndarray, cells: Sequence[float]) -> np.ndarray:
        """Draw the sum of textures of several sizes, weighted by the square root of their cells; variance about 1."""
        weights = np.sqrt(np.asarray(cells) / sum(cells))
        return sum(w * self.texture(rows, columns, cell) for w, cell in zip(weights, cells, strict=True))

    def texture_at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Like `texture` with cell 1, at arbitrary positions: rows and columns are (H, W), in cells, from 0 to 64."""
        cells = np.arange(_LATTICE * _FINE) / _FINE
        table = self.texture(cells, cells, 1.0)
        at = np.stack([rows * _FINE, columns * _FINE])
        return ndimage.map_coordinates(table, at, order=1, mode="nearest", prefilter=False)


def _spline(positions: np.ndarray, cell: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Return the first lattice node (n,) and the four cubic B-spline weights, each (n,), of every position."""
    cells = (positions - positions.min()) / cell
    node = np.floor(cells).astype(np.intp)
    t = cells - node
    return node, ((1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (3 * (t + t**2 - t**3) + 1) / 6, t**3 / 6)


def smoothstep(values: np.ndarray) -> np.ndarray:
    """Return 0 below 0, 1 above 1, and a smooth cubic between."""
    t = np.clip(values, 0, 1)
    return t * t * (3 - 2 * t)
