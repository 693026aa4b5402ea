"""Pixel spacing of a data set's images; a given spacing applies to files without one."""

from __future__ import annotations

from typing import Any

from transforms.dataset import Dataset
from transforms.given_spacing import Spacing, given_spacing


def pixel_spacings(data: Dataset, section: str, given: Any = None) -> dict[str, Spacing | None]:
    """Return case → (row, column) size of a stored pixel in mm.

    Args:
        given: spacing for images without one: a number, or (row, column); None leaves it unknown.

    Raises:
        UserError: `given` is neither.
    """
    default = given_spacing(given)
    spacings: dict[str, Spacing | None] = {}
    for item in data.items(section):
        known = item["spacing_mm"]
        spacings[item["case"]] = default if known is None else (float(known[0]), float(known[1]))
    return spacings
