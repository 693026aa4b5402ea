"""Options of earlier versions: what replaces them, and how records made with them are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REPLACED = {
    "dice_weight": "--loss, where cross_entropy has no Dice loss and dice_cross_entropy adds it with a weight of 1 "
    "(another weight: --losses::dice_cross_entropy::dice_weight 0.5)",
}
"""Option of an earlier version: what to give instead."""


def upgraded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a training (models/model.json, progress.pt) under the names of today's options.

    Those of an earlier version get the values of what it did: crops by image, the weights of the paper, no moving
    average.
    """
    new = dict(settings)
    if "dice_weight" in new:
        weight = float(new.pop("dice_weight"))
        new.setdefault("loss", "dice_cross_entropy" if weight else "cross_entropy")
        new.setdefault("class_weights", "paper")
        new.setdefault("dice_share", weight)
    return new
