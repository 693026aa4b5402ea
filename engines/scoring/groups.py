"""Lesion scores by group of images, such as the density of the breast, with intervals over the group's subjects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engines.scoring.draws import DRAWS, SEED
from engines.scoring.froc import Froc, Measure, size_bands
from engines.scoring.intervals import FEW_SIGN, few_subjects, sign
from engines.scoring.matching import ImageLesions

LEAST_SUBJECTS = 5
"""Smaller groups have no scores: an interval over four women is meaningless, and values may identify them."""

UNKNOWN = "unknown"
SIZE = "size"
"""Attribute for grouping images by the size of their largest lesion."""

RATE = 1.0
"""False positives per image, over all images, at the minimum score of candidates."""

NAMES = {
    "lesion_sensitivity_at_1fp": "lesion_sensitivity",
    "false_positives_per_image_at_1fp": "lesion_false_positives_per_image",
    "mean_image_dice": "mean_image_dice",
    "lesion_dice": "lesion_dice",
}
"""Scores of a group → their names in `Froc`."""

AttributesOf = Callable[[str, str], Mapping[str, str]]
"""(subject, case) → attribute: value."""


@dataclass(frozen=True)
class Group:
    """The images with one value of an attribute; without measures if they have too few subjects."""

    attribute: str
    value: str
    subjects: int
    images: int
    lesions: int
    measures: Mapping[str, Measure] = field(default_factory=dict, repr=False)

    def record(self, draws: int = DRAWS, seed: int = SEED) -> dict[str, Any]:
        """Return a row for a table: counts, scores and intervals; None in place of NaN."""
        row: dict[str, Any] = {
            "attribute": self.attribute,
            "group": self.value,
            "subjects": self.subjects,
            "images": self.images,
            "lesions": self.lesions,
        }
        for name in NAMES:
            measure = self.measures.get(name)
            low, high = (float("nan"),) * 2 if measure is None else measure.interval(draws, seed)
            values = {
                name: float("nan") if measure is None else measure.value,
                f"{name}_low": low,
                f"{name}_high": high,
            }
            row |= {key: None if value != value else value for key, value in values.items()}
        return row


def groups(images: Sequence[ImageLesions], attributes_of: AttributesOf, names: Sequence[str]) -> list[Group]:
    """Return every group of every attribute; `SIZE` among the names is the size of the largest lesion.

    The minimum score of candidates is the same for all groups: the lowest with at most one false positive per image
    over all images. Groups of fewer than `LEAST_SUBJECTS` subjects are merged; groups that are still too small have no
    scores.
    """
    threshold = Froc(images).threshold_at(RATE)
    return [
        _group(name, value, part, threshold)
        for name, parts in partition(images, attributes_of, names).items()
        for value, part in parts.items()
    ]


def partition(
    images: Sequence[ImageLesions], attributes_of: AttributesOf, names: Sequence[str]
) -> dict[str, dict[str, list[ImageLesions]]]:
    """Return attribute → value → images, for attributes with two values or more; groups of few subjects are merged."""
    found = _by_attribute(images, attributes_of, [name for name in names if name != SIZE])
    every = {name: _by_size(images) if name == SIZE else found[name] for name in names}
    return {name: _merged(parts) for name, parts in every.items() if len(parts) > 1}


def _by_attribute(
    images: Sequence[ImageLesions], attributes_of: AttributesOf, names: Sequence[str]
) -> dict[str, dict[str, list[ImageLesions]]]:
    parts: dict[str, dict[str, list[ImageLesions]]] = {name: {} for name in names}
    for image in images:
        known = attributes_of(image.subject, image.case)
        for name in names:
            parts[name].setdefault(known.get(name, UNKNOWN), []).append(image)
    return {name: {value: part[value] for value in sorted(part, key=_ascending)} for name, part in parts.items()}


def _ascending(value: str) -> tuple[bool, str]:
    """Sort key for values, such as age groups, in ascending order."""
    return not value.startswith(("under", "<")), value


def _by_size(images: Sequence[ImageLesions]) -> dict[str, list[ImageLesions]]:
    """Return the images with a lesion by the size band of their largest, in the order of the bands."""
    lesions = [lesion for image in images for lesion in image.counted]
    bands = size_bands(lesions) if lesions else {}
    largest = [(image, max(image.counted, key=lambda lesion: lesion.share)) for image in images if image.counted]
    parts = {name: [image for image, lesion in largest if belongs(lesion)] for name, belongs in bands.items()}
    return {name: part for name, part in parts.items() if part}


def _merged(parts: Mapping[str, list[ImageLesions]]) -> dict[str, list[ImageLesions]]:
    """Return the groups in order, those of few subjects merged into one, then the images with unknown value."""
    few = [value for value, part in parts.items() if subjects_of(part) < LEAST_SUBJECTS and value != UNKNOWN]
    few = few if len(few) > 1 else []
    kept = {value: part for value, part in parts.items() if value not in few and value != UNKNOWN}
    other = {f"other ({', '.join(few)})": [image for value in few for image in parts[value]]} if few else {}
    return {**kept, **other, **({UNKNOWN: parts[UNKNOWN]} if UNKNOWN in parts else {})}


def _group(name: str, value: str, images: Sequence[ImageLesions], threshold: float) -> Group:
    subjects, lesions = subjects_of(images), sum(len(image.counted) for image in images)
    if subjects < LEAST_SUBJECTS:
        return Group(name, value, subjects, len(images), lesions)
    froc = Froc(images)
    measures = {**froc.at(threshold), **froc.dice()}
    return Group(name, value, subjects, len(images), lesions, {mine: measures[its] for mine, its in NAMES.items()})


def subjects_of(images: Sequence[ImageLesions]) -> int:
    """Return the number of subjects of the images."""
    return len({image.subject for image in images})


HEAD = ("Group", "Subjects", "Images", "Lesions", "Found at 1 FP", "FP per image", "Dice per image", "Dice")
"""Headings of the columns of `cells`."""


def cells(group: Group, draws: int = DRAWS, seed: int = SEED) -> list[str]:
    """Return the cells of a displayed row: scores in percent, with intervals."""
    counts = [f"{group.attribute} {group.value}", *map(str, (group.subjects, group.images, group.lesions))]
    if not group.measures:
        return [*counts, "too few subjects", "", "", ""]
    factors = {name: 1 if name.startswith("false") else 100 for name in group.measures}
    return [*counts, *(_text(measure, factors[name], draws, seed) for name, measure in group.measures.items())]


def sentences(found: Sequence[Group]) -> list[str]:
    """Return the groups as lines of a table."""
    return [*aligned([list(HEAD), *map(cells, found)]), *few_notes(found)] if found else []


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def few_notes(found: Sequence[Group]) -> list[str]:
    """Return an explanation of the sign after the intervals of small groups, if there are any."""
    smallest = min((group.subjects for group in found if group.measures), default=0)
    sentence = few_subjects(smallest)
    return [] if sentence is None else [f"{FEW_SIGN} {sentence}"]


def _text(measure: Measure, factor: float, draws: int, seed: int) -> str:
    value, (low, high) = measure.value, measure.interval(draws, seed)
    if value != value:
        return "n/a"
    digits = 1 if factor == 100 else 2
    few = sign(len(measure.numerator))
    return f"{factor * value:.{digits}f} [{factor * low:.{digits}f}, {factor * high:.{digits}f}]{few}"
