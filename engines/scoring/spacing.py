"""Pixel spacing of a data set's images, and of those whose files state none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transforms.dataset import Dataset
from transforms.errors import UserError

Spacing = tuple[float, float]


def pixel_spacings(data: Dataset, section: str, given: Any = None) -> dict[str, Spacing | None]:
    """Case → (row, column) size of a stored pixel in mm.

    Args:
        given: for images without one: a number, or (row, column); None leaves them without.

    Raises:
        UserError: `given` is neither.
    """
    default = None if given is None else _pair(given)
    spacings: dict[str, Spacing | None] = {}
    for item in data.items(section):
        known = item["spacing_mm"]
        spacings[item["case"]] = default if known is None else (float(known[0]), float(known[1]))
    return spacings


def _pair(given: Any) -> Spacing:
    values = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given, given]
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(values) != 2 or len(numbers) != 2 or not all(0 < value < 100 for value in numbers):
        raise UserError(
            f"--spacing {given}: expected the size of a pixel in mm, above 0 and below 100: 0.07, or [0.07,0.07] (row, "
            "column)"
        )
    return float(numbers[0]), float(numbers[1])
