"""Detect what would invalidate a training, from dataset.json, headers and digests.

One checker for `scripts.prepare check`, `run check` and the training itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from transforms.dataset import SECTIONS, Dataset
from transforms.errors import UserError

Member = tuple[str, str, str]
"""(section, case, key that may not be in two sections: a subject or a digest)."""


def check_dataset_for_training(data: Dataset) -> list[str]:
    """Check sections, image headers and all labels, before the first step.

    Returns warnings about what may be intended.

    Raises:
        UserError: for the first defect that makes scores wrong or a training pointless.
    """
    entries = ((section, item) for section in SECTIONS for item in data.content.get(section, []))
    members = ((section, item["image"], item["subject"]) for section, item in entries)
    warnings = []
    shared = subjects_apart(members)
    if shared and data.content.get("split", {}).get("by") == "image":
        warnings.append(shared)
    elif shared:
        raise UserError(f"{data.root / 'dataset.json'}: {shared}; prepare the dataset again, split by subject")
    found = data.check_labels(data.each("training"))
    data.check_labels(data.each("validation"))
    classes = [name for value, name in data.labels.items() if value in found]
    if len(classes) < 2:
        raise UserError(
            f"{data.root}: all training labels hold only {classes[0] if classes else 'void'}: there is nothing "
            "to learn; prepare the dataset with the annotations, or specify their values (--values)"
        )
    return warnings


def subjects_apart(members: Iterable[Member]) -> str | None:
    """Describe subjects that are in two sections, in one phrase; None without such subjects."""
    found: dict[str, set[str]] = defaultdict(set)
    for section, _, subject in members:
        found[subject].add(section)
    shared = sorted(subject for subject, sections in found.items() if len(sections) > 1)
    if not shared:
        return None
    return f"{len(shared)} subjects are in two sections, such as {shared[0]}: scores will be too good"


def copies_apart(members: Iterable[Member]) -> str | None:
    """Describe images of equal digest in two sections, in one phrase; None without such images."""
    members = list(members)
    sections: dict[str, str] = {}
    twice = {digest for section, _, digest in members if sections.setdefault(digest, section) != section}
    if not twice:
        return None
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for section, case, digest in members:
        if digest in twice:
            found[digest].append((section, case))
    apart = list(found.values())
    first = apart[0][0]
    other = next(place for place in apart[0] if place[0] != first[0])
    both = f"{first[1]} ({first[0]}) and {other[1]} ({other[0]})"
    return f"{len(apart)} images are in two sections: {both} are the same"


def check_digest(path: str | Path, digest: str, imported: str | None) -> None:
    """Raise UserError if an array differs from the imported one; `imported` is None if that was not recorded."""
    if imported is not None and digest != imported:
        raise UserError(f"{path}: changed since it was imported; prepare the dataset again")
