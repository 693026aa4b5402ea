"""Pixel counts per class and row of a label map, sufficient to draw a pixel of a class exactly uniformly.

An importer stores them beside the label map, at a hundredth of its size, so that the first crop of an image costs no
more than the others: the counts of `labels/NAME.npy` are in `row_counts/NAME.npy`, (classes, rows) uint32.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = "row_counts"
_COMPARED = 16  # rows
_STRIP = 32  # rows; larger strips exceed the processor's cache


def row_counts(label: NDArray[np.uint8], num_classes: int) -> NDArray[np.uint32]:
    """Pixel counts per class and row: (num_classes, H)."""
    counts = np.empty((num_classes, label.shape[0]), np.uint32)
    for first in range(0, label.shape[0], _STRIP):
        strip = np.asarray(label[first : first + _STRIP]).astype(np.intp)
        strip += 256 * np.arange(len(strip))[:, None]
        found = np.bincount(strip.ravel(), minlength=256 * len(strip)).reshape(-1, 256)
        counts[:, first : first + _STRIP] = found[:, :num_classes].T
    return counts


def counts_file(label_file: str | Path) -> Path:
    """Path of the stored counts of a label map of a dataset folder."""
    path = Path(label_file)
    return path.parent.parent / FOLDER / path.name


def kept_row_counts(label_file: str | Path, label: NDArray[np.uint8], num_classes: int) -> NDArray[np.uint32] | None:
    """The stored counts of a label map; None if they are missing or belong to another map.

    Only the map's size and some of its rows are compared; reading all would cost as much as counting again.
    """
    try:
        counts = np.load(counts_file(label_file), allow_pickle=False)
    except Exception:  # NumPy raises many kinds on damaged files
        return None
    expected = (num_classes, label.shape[0])
    if not isinstance(counts, np.ndarray) or counts.shape != expected or counts.dtype != np.uint32:
        return None
    rows = np.unique(np.linspace(0, label.shape[0] - 1, _COMPARED).astype(int))
    return np.asarray(counts) if np.array_equal(row_counts(label[rows], num_classes), counts[:, rows]) else None
