"""Class weights of the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from engines.scoring.lesion_classes import lesion_classes
from transforms.dataset import Dataset
from transforms.errors import UserError

CHOICES = ("paper", "none", "inverse")


def class_weights(data: Dataset, choice: str | Sequence[float] | None = "paper") -> list[float] | None:
    """Return one weight per class, in the order of the class ids; None weights all pixels equally.

    Args:
        data: the training data set.
        choice: "paper" is w = 1 - x/100, where x is the percentage of the class in the training pixels (section 3.4);
            "inverse" is 1 / x, scaled to a mean of 1 over the classes that occur (0 for others); "none"; or a list.

    Raises:
        UserError: an unknown choice, or a list that does not fit the classes.
    """
    if isinstance(choice, (list, tuple)):
        return _listed(choice, data.class_names)
    if choice == "none" or choice is None:
        return None
    if choice == "paper":
        return data.class_weights()
    if choice == "inverse":
        return _inverse([data.pixel_fraction[name] for name in data.class_names])
    raise UserError(
        f"--class_weights {choice}: unknown value; choose from {', '.join(CHOICES)}, or give a list with a number per "
        f"class ({', '.join(data.class_names)})"
    )


def lesion_weights(data: Dataset, weight: float, lesion_class: str | Sequence[str] | None = None) -> list[float]:
    """Return `weight` for the lesion classes (`engines.scoring.lesion_classes`), 1 for all others."""
    lesions = lesion_classes(data.class_names, lesion_class)
    return [float(weight) if number in lesions else 1.0 for number in range(data.num_classes)]


def _inverse(fractions: Sequence[float]) -> list[float]:
    inverse = [1.0 / fraction if fraction > 0 else 0.0 for fraction in fractions]
    present = [value for value in inverse if value]
    scale = len(present) / sum(present) if present else 1.0
    return [value * scale for value in inverse]


def _listed(weights: Sequence[Any], names: Sequence[str]) -> list[float]:
    numbers = [isinstance(w, (int, float)) and not isinstance(w, bool) and math.isfinite(w) and w >= 0 for w in weights]
    if len(weights) != len(names) or not all(numbers) or not any(weights):
        raise UserError(
            f"--class_weights {list(weights)}: expected {len(names)} numbers of at least 0, not all 0, one per class: "
            f"{', '.join(names)}"
        )
    return [float(weight) for weight in weights]
