"""The option `--spacing`: pixel size for images whose files state none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transforms.errors import UserError

Spacing = tuple[float, float]


def given_spacing(given: Any) -> Spacing | None:
    """(row, column) size of a pixel in mm from the option's value, a number or a pair; None without one.

    Raises:
        UserError: the value is neither.
    """
    if given is None:
        return None
    values = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given, given]
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(values) != 2 or len(numbers) != 2 or not all(0 < value < 100 for value in numbers):
        raise UserError(
            f"--spacing {given}: expected the pixel size in mm, above 0 and below 100: 0.07, or [0.07,0.07] (row, "
            "column)"
        )
    return float(numbers[0]), float(numbers[1])
