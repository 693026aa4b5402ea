"""Label maps of one image by several experts: their majority and their agreement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from scripts.importers.labels.merge import Tally
from scripts.importers.writing.cases import Label

_STRIP = 256


def majority(maps: Sequence[Label]) -> tuple[Label, int]:
    """Return each pixel's class in at least two of two or three maps, and the number of pixels without such a class.

    A pixel without such a class is class 0. For a class that no other class covers this is the gold standard of
    the CSAW-S authors (seemingly_uninformative_labels, src/datasets.py): cancer where two of three experts agree.
    """
    result = np.zeros_like(maps[0])
    settled = np.zeros(result.shape, bool)
    for one, other in combinations(maps, 2):
        same = one == other
        result[same] = one[same]
        settled |= same
    return result, int(settled.size - np.count_nonzero(settled))


def count_agreement(tally: Tally, maps: Mapping[int, Label], classes: int) -> None:
    """Count, per pair of experts, the pixels of one image by both experts' classes."""
    for first, second in combinations(sorted(maps), 2):
        matrix = np.zeros(classes**2, np.int64)
        for row in range(0, len(maps[first]), _STRIP):
            joint = maps[first][row : row + _STRIP].astype(np.int64) * classes + maps[second][row : row + _STRIP]
            matrix += np.bincount(joint.ravel(), minlength=classes**2)
        for cell in np.flatnonzero(matrix):
            tally.count("agreement", f"{first} {second} {cell // classes} {cell % classes}", int(matrix[cell]))


def agreement(tally: Tally, names: Sequence[str]) -> dict[tuple[int, int], dict[str, float]]:
    """Return, per pair of experts, the IoU over all images of each class that one of them has used."""
    matrices: dict[tuple[int, int], NDArray[np.int64]] = {}
    for cell, count in tally.cells("agreement").items():
        first, second, row, column = map(int, cell.split())
        matrices.setdefault((first, second), np.zeros((len(names),) * 2, np.int64))[row, column] = count
    result = {}
    for pair, matrix in sorted(matrices.items()):
        both = np.diag(matrix)
        union = matrix.sum(axis=0) + matrix.sum(axis=1) - both
        result[pair] = {name: float(both[k] / union[k]) for k, name in enumerate(names) if union[k]}
    return result


def agreement_notes(tally: Tally, names: Sequence[str]) -> list[str]:
    """Return one line per pair of experts, for the summary."""
    lines = []
    for (first, second), scores in agreement(tally, names).items():
        parts = ", ".join(f"{name} {100 * score:.1f} %" for name, score in scores.items())
        mean = 100 * sum(scores.values()) / len(scores)
        lines.append(f"IoU of annotators {first} and {second}: {parts}; mean {mean:.1f} %")
    return lines
