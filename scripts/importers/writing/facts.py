"""Properties of a data set's images, and defects that would invalidate a training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scripts.importers.writing.near_copies import Descriptor, near_copies
from transforms.dataset_check import copies_apart, subjects_apart
from transforms.reading.dicom_attributes import IMPLAUSIBLE

Places = list[tuple[str, str]]
"""(section, case) of images."""


@dataclass(frozen=True)
class Facts:
    """Properties of one image.

    Attributes:
        case: case name.
        item: entry in dataset.json.
        size: (rows, columns).
        lowest, highest: smallest and largest pixel value.
        counts: pixels of each class, or None without a label.
        digest: digest of the pixels.
        look: see `near_copies.descriptor`; None if not computed.
    """

    case: str
    item: Mapping[str, Any]
    size: tuple[int, int]
    lowest: int
    highest: int
    counts: Sequence[int] | None
    digest: str
    look: Descriptor | None = None


@dataclass
class Findings:
    """Errors, which make results wrong, and warnings for the user."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def findings(facts: Mapping[str, Sequence[Facts]], labels: Sequence[str], split_by_image: bool = False) -> Findings:
    """Check all images.

    Args:
        facts: section to its images.
        labels: class names.
        split_by_image: whether subjects in two sections were requested, and are only a warning.
    """
    found = Findings()
    everything = [(section, one) for section, members in facts.items() for one in members]
    _subjects(found, everything, split_by_image)
    _copies(found, everything, facts)
    _blank(found, everything)
    _classes(found, facts, labels)
    sources = [str(one.item.get("spacing_source", "")) for _, one in everything]
    _spacing(found, [one.item.get("spacing_mm") for _, one in everything], sources)
    return found


def _subjects(found: Findings, everything: Sequence[tuple[str, Facts]], split_by_image: bool) -> None:
    text = subjects_apart((section, one.case, one.item["subject"]) for section, one in everything)
    if text:
        (found.warnings if split_by_image else found.errors).append(text)


def _copies(found: Findings, everything: Sequence[tuple[str, Facts]], facts: Mapping[str, Sequence[Facts]]) -> None:
    places: dict[str, Places] = defaultdict(list)
    for section, one in everything:
        places[one.digest].append((section, one.case))
    copies = [where for where in places.values() if len(where) > 1]
    apart = [where for where in copies if len({section for section, _ in where}) > 1]
    text = copies_apart((section, one.case, one.digest) for section, one in everything)
    if text:
        found.errors.append(text)
    looks = {
        section: [(one.case, one.item["subject"], one.digest, one.look) for one in members if one.look is not None]
        for section, members in facts.items()
    }
    near = near_copies(looks)
    if near:
        found.warnings.append(near)
    beside = [where for where in copies if where not in apart]
    if beside:
        number = sum(len(where) - 1 for where in beside)
        found.warnings.append(f"{number} images are exact copies of others, such as {_named(beside[0])}")


def _named(where: Places) -> str:
    (section, case), (other_section, other) = where[:2]
    return f"{case} ({section}) and {other} ({other_section})"


def _blank(found: Findings, everything: Sequence[tuple[str, Facts]]) -> None:
    blank = [one for _, one in everything if one.lowest == one.highest]
    if blank:
        text = f"{len(blank)} images hold one value only, such as {blank[0].case}: every pixel is {blank[0].lowest}"
        found.warnings.append(text)


def _classes(found: Findings, facts: Mapping[str, Sequence[Facts]], labels: Sequence[str]) -> None:
    for section in ("training", "validation"):
        counts = [one.counts for one in facts.get(section, ()) if one.counts is not None]
        if not counts:
            continue
        pixels = np.sum(counts, axis=0, dtype=np.int64)
        absent = [labels[int(label)] for label in np.flatnonzero(pixels == 0)]
        if absent:
            found.warnings.append(f"no {section} pixel of {', '.join(absent)}")


def _spacing(found: Findings, spacings: Sequence[Sequence[float] | None], sources: Sequence[str]) -> None:
    known = [spacing for spacing in spacings if spacing]
    if known and len(known) < len(spacings):
        found.warnings.append(f"{len(spacings) - len(known)} of {len(spacings)} images have no pixel spacing")
    wrong = [source for source in sources if source.startswith(IMPLAUSIBLE)]
    if wrong:
        found.warnings.append(f"{len(wrong)} images have a pixel spacing that was not used, such as {wrong[0]}")
    rows = [spacing[0] for spacing in known]
    if known and max(rows) > 1.5 * min(rows):
        found.warnings.append(f"pixel spacing varies from {min(rows):.3g} to {max(rows):.3g} mm")
    oblong = sum(abs(spacing[0] - spacing[1]) > 0.01 * spacing[0] for spacing in known)
    if oblong:
        found.warnings.append(f"{oblong} images have pixels that are not square")
