"""Training subjects that are kept from the training, so that an operating point can be chosen on them."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from transforms.dataset import Dataset
from transforms.errors import UserError

SOURCES = ("training", "validation")
SHARE = 0.2
"""Of the training subjects, where nothing else was given."""


def training_items(data: Dataset, threshold_from: Any, share: Any, seed: int) -> list[dict[str, Any]]:
    """The images that are trained with: all of the section, or those of the subjects that are not held out."""
    held_out = held_out_subjects(data, threshold_from, share, seed)
    return [item for item in data.items("training") if item["subject"] not in held_out]


def held_out_items(data: Dataset, threshold_from: Any, share: Any, seed: int) -> list[dict[str, Any]]:
    """The images of the subjects that are held out; none without `threshold_from` "training"."""
    held_out = held_out_subjects(data, threshold_from, share, seed)
    return [item for item in data.items("training") if item["subject"] in held_out]


def held_out_subjects(data: Dataset, threshold_from: Any, share: Any, seed: int) -> set[str]:
    """A share of the training subjects, chosen by the SHA-256 of seed and name.

    Args:
        threshold_from: "training" holds subjects out; None and "validation" hold none out.
        share: of the subjects, rounded up; None takes `SHARE`.

    Raises:
        UserError: an unknown source, a share that is not between 0 and 1, or no subject left to train with.
    """
    if threshold_from is not None and threshold_from not in SOURCES:
        raise UserError(f"--threshold_from {threshold_from}: unknown source; choose from {', '.join(SOURCES)}")
    share = SHARE if share is None else share
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        raise UserError(f"--threshold_share {share}: expected a share of the training subjects between 0 and 1")
    if threshold_from != "training":
        return set()
    subjects = sorted({item["subject"] for item in data.items("training")}, key=lambda name: _order(seed, name))
    count = math.ceil(share * len(subjects))
    if count == len(subjects):
        raise UserError(
            f"--threshold_share {share}: holds out all {count} training subjects; give a smaller share, or "
            "--threshold_from validation"
        )
    return set(subjects[:count])


def _order(seed: int, name: str) -> str:
    return hashlib.sha256(f"threshold {seed} {name}".encode()).hexdigest()
