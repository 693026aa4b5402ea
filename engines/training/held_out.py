"""Training subjects held out for the choice of an operating point."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from engines.scoring.lesion_classes import lesion_classes
from transforms.dataset import Dataset
from transforms.dataset_items import Items
from transforms.errors import UserError
from transforms.known_files import CHUNK, DIGEST, VALUES, KnownFiles

LesionClass = str | Sequence[str] | None

SOURCES = ("training", "validation")
SHARE = 0.2
"""Default share of the training subjects."""


def training_items(
    data: Dataset, threshold_from: Any, share: Any, seed: int, lesion_class: LesionClass = None
) -> Items:
    """Return the images for training: all of the section, or those of the subjects that are not held out."""
    held_out = held_out_subjects(data, threshold_from, share, seed, lesion_class)
    return data.each("training").where(lambda entry: entry["subject"] not in held_out)


def held_out_items(
    data: Dataset, threshold_from: Any, share: Any, seed: int, lesion_class: LesionClass = None
) -> Items:
    """Return the images of the subjects that are held out; none unless `threshold_from` is "training"."""
    held_out = held_out_subjects(data, threshold_from, share, seed, lesion_class)
    return data.each("training").where(lambda entry: entry["subject"] in held_out)


def held_out_subjects(
    data: Dataset, threshold_from: Any, share: Any, seed: int, lesion_class: LesionClass = None
) -> set[str]:
    """Return a share of the training subjects, chosen by the SHA-256 of seed and name.

    It includes the same share of the subjects with a lesion, rounded up, so that a threshold can be chosen.

    Args:
        threshold_from: "training" holds subjects out; None and "validation" hold none out.
        share: share of the subjects, rounded up; None means `SHARE`.
        lesion_class: see `lesion_classes`.

    Raises:
        UserError: an unknown source, a share that is not between 0 and 1, no subject left for training, or too few
            subjects with a lesion to choose an operating point.
    """
    if threshold_from is not None and threshold_from not in SOURCES:
        raise UserError(f"--threshold_from {threshold_from}: unknown source; choose from {', '.join(SOURCES)}")
    share = SHARE if share is None else share
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        raise UserError(f"--threshold_share {share}: expected a share of the training subjects between 0 and 1")
    if threshold_from is None:
        return set()
    lesions = tuple(lesion_classes(data.class_names, lesion_class))  # if there is none, `stage_lesions` reports it
    diseased = _with_lesion(data.files, _labels(data, threshold_from), lesions) if lesions else frozenset()
    least = 2 if threshold_from == "training" else 1
    if lesions and len(diseased) < least:
        names = ", ".join(data.class_names[number] for number in lesions)
        raise UserError(
            f"--threshold_from {threshold_from}: {len(diseased)} {threshold_from} subjects of {data.name} have a "
            f"lesion ({names}), and {least} or more are needed to choose a threshold; add such images, name another "
            "--lesion_class, or give --threshold_from '$None'"
        )
    if threshold_from == "validation":
        return set()
    return _drawn(sorted({entry["subject"] for entry in data.content["training"]}), diseased, share, seed)


def _drawn(subjects: Sequence[str], diseased: Collection[str], share: float, seed: int) -> set[str]:
    """Return a share of the subjects, and of those with a lesion."""
    count = math.ceil(share * len(subjects))
    if count == len(subjects):
        raise UserError(
            f"--threshold_share {share}: holds out all {count} training subjects; give a smaller share, or "
            "--threshold_from validation"
        )
    order = sorted(subjects, key=lambda name: _order(seed, name))
    sick = [name for name in order if name in diseased]
    healthy = [name for name in order if name not in diseased]
    of_sick = min(count, max(math.ceil(share * len(sick)), count - len(healthy)), max(0, len(sick) - 1) or count)
    return {*sick[:of_sick], *healthy[: count - of_sick]}


def _labels(data: Dataset, section: str) -> tuple[tuple[str, str], ...]:
    return tuple((item["subject"], item["label"]) for item in data.each(section) if item["label"] is not None)


@lru_cache(maxsize=4)
def _with_lesion(files: KnownFiles, labels: tuple[tuple[str, str], ...], lesions: tuple[int, ...]) -> frozenset[str]:
    """Return the subjects with a lesion pixel; every unknown label is read once."""
    found: set[str] = set()
    with files.reading(len(labels), "reading labels") as done:
        for first in range(0, len(labels), CHUNK):
            part = labels[first : first + CHUNK]
            held = files.values(files.look(files.names([path for _, path in part]), DIGEST | VALUES))
            sick: list[bool] = np.asarray(held[:, list(lesions)]).max(axis=1, initial=False).tolist()
            found.update(subject for (subject, _), has in zip(part, sick, strict=True) if has)
            done(len(part))
    return frozenset(found)


def _order(seed: int, name: str) -> str:
    return hashlib.sha256(f"threshold {seed} {name}".encode()).hexdigest()
