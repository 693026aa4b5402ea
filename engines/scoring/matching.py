"""Matching of candidates and lesions in one image: the protocol of docs/evaluation.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from skimage.measure import label as components

from engines.scoring.histogram import Histogram, histogram
from engines.scoring.lesion_crops import Crop, crop_counts
from transforms.candidates import Box, Candidate, find_candidates
from transforms.errors import UserError

HITS = ("iou", "center", "overlap")
OVERLAP = 0.1
"""Smallest intersection over union of a hit by the rule "iou"."""

MIN_SCORE = 0.5
"""Default minimum score of kept candidates."""

HIT, FALSE, NEITHER = "hit", "false", "neither"


@dataclass(frozen=True)
class Rule:
    """What counts as a lesion, and what as a hit.

    Attributes:
        hit: "iou", "center" or "overlap".
        min_lesion_size: lesions of fewer pixels of the label are void. A candidate that hits one, or whose peak is in
            one, is no false positive.

    Raises:
        UserError: an unknown rule, or a size that is not a whole number of at least 0.
    """

    hit: str = "iou"
    min_lesion_size: int = 0

    def __post_init__(self) -> None:
        if self.hit not in HITS:
            raise UserError(f"--hit {self.hit}: unknown rule; choose from {', '.join(HITS)}")
        size = self.min_lesion_size
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise UserError(f"--min_lesion_size {size}: expected a whole number of pixels of at least 0")

    @property
    def text(self) -> str:
        """The rule in words."""
        return {
            "iou": f"IoU of at least {OVERLAP:g}",
            "center": "center of the peak inside the lesion",
            "overlap": "at least one shared pixel",
        }[self.hit]


@dataclass(frozen=True)
class Lesion:
    """One lesion of the truth.

    Attributes:
        pixels: its size.
        share: share of the image's pixels.
        diameter_mm: diameter of a circle of the same area; None if the spacing is unknown.
        box: (top, left, bottom, right).
        score: score of the candidate that found it; None if missed.
        dice: Dice with the union of the mask's components that touch it; 0 if none does.
        void: whether it is too small to count.
    """

    pixels: int
    share: float
    diameter_mm: float | None
    box: Box
    score: float | None
    dice: float
    void: bool = False


@dataclass(frozen=True)
class Judged:
    """One candidate with its outcome: "hit", "false" or "neither"; `lesion` is the index in the image's list."""

    score: float
    area: int
    box: Box
    outcome: str
    lesion: int | None = None


@dataclass(frozen=True)
class ImageLesions:
    """The lesions and candidates of one image.

    Attributes:
        truth, predicted, shared: pixels of the lesion class in the truth, in the mask, and in both.
        histogram: see `engines.scoring.histogram`; None if it was not kept.
        min_score: minimum score of kept candidates.
        argmax: `predicted` and `shared` of the most likely class, if the mask comes from a threshold; else None.
        attributes: attributes for grouping, in the terms of `transforms.image_attributes`.
        crops: crop of each lesion, see `engines.scoring.lesion_crops`; empty if not counted.
    """

    subject: str
    case: str
    truth: int
    predicted: int
    shared: int
    lesions: tuple[Lesion, ...] = field(default=(), repr=False)
    candidates: tuple[Judged, ...] = field(default=(), repr=False)
    histogram: Histogram | None = field(default=None, repr=False)
    min_score: float = MIN_SCORE
    argmax: tuple[int, int] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict, repr=False)
    crops: tuple[Crop, ...] = field(default=(), repr=False)

    @property
    def dice(self) -> float | None:
        """Dice of the lesion class in this image; None for a normal image, without lesion pixels in the truth."""
        return 2 * self.shared / (self.truth + self.predicted) if self.truth else None

    @property
    def counted(self) -> list[Lesion]:
        """The lesions that are not void."""
        return [lesion for lesion in self.lesions if not lesion.void]


def judge(
    subject: str,
    case: str,
    truth: NDArray[np.bool_],
    mask: NDArray[np.bool_],
    probability: NDArray[np.floating[Any]],
    void: NDArray[np.bool_] | None = None,
    spacing: Sequence[float] | None = None,
    rule: Rule | None = None,
    min_score: float = MIN_SCORE,
    argmax: NDArray[np.bool_] | None = None,
) -> ImageLesions:
    """Compare one image's lesions with the candidates of a probability map.

    Args:
        truth, mask, void: masks (H, W) of the lesion class in the truth and in the prediction, and of pixels without a
            class in the truth.
        probability: (H, W), probability of a lesion.
        spacing: (row, column) size of a pixel in mm.
        min_score: smallest score of the candidates that are kept.
        argmax: the mask of the most likely class, if `mask` comes from a threshold.
    """
    rule = rule or Rule()
    valid = np.ones(truth.shape, bool) if void is None else ~void
    truth, mask = truth & valid, mask & valid
    numbers = components(truth, connectivity=2)
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    too_small = (sizes > 0) & (sizes < rule.min_lesion_size)
    scores: dict[int, float] = {}
    judged = []
    for candidate in find_candidates(probability):
        hit = _hits(candidate, numbers, sizes, valid, rule.hit)
        free = [n for n in hit if n not in scores and not too_small[n]]
        area = int(candidate.region.sum())
        if free:
            taken = max(free, key=lambda n: (hit[n], -n))
            scores[taken] = candidate.score
            judged.append(Judged(candidate.score, area, candidate.box, HIT, taken - 1))
        else:
            neither = bool(hit) or not valid[candidate.center] or too_small[numbers[candidate.center]]
            judged.append(Judged(candidate.score, area, candidate.box, NEITHER if neither else FALSE))
    lesions = _lesions(numbers, sizes, too_small, scores, mask, spacing)
    pixels = (int(truth.sum()), int(mask.sum()), int((truth & mask).sum()))
    counts = histogram(probability, truth, valid)
    plain = None if argmax is None else (int((argmax & valid).sum()), int((argmax & truth).sum()))
    crops = crop_counts((each.box for each in lesions), truth, mask if argmax is None else argmax, probability, valid)
    return ImageLesions(subject, case, *pixels, lesions, tuple(judged), counts, min_score, plain, crops=crops)


def _hits(
    candidate: Candidate, numbers: NDArray[np.int_], sizes: NDArray[np.int_], valid: NDArray[np.bool_], rule: str
) -> dict[int, float]:
    """Return the lesions that a candidate hits: number → intersection over union."""
    inside = candidate.region & valid[candidate.slices]
    shared = np.bincount(numbers[candidate.slices][inside], minlength=len(sizes))
    area, shared[0] = int(inside.sum()), 0
    touched = {int(n): float(shared[n]) / float(area + sizes[n] - shared[n]) for n in np.flatnonzero(shared)}
    if rule == "center":
        here = int(numbers[candidate.center])
        return {here: touched.get(here, 0.0)} if here else {}
    if rule == "iou":
        return {n: iou for n, iou in touched.items() if iou >= OVERLAP}
    return touched


def _lesions(
    numbers: NDArray[np.int_],
    sizes: NDArray[np.int_],
    too_small: NDArray[np.bool_],
    scores: dict[int, float],
    mask: NDArray[np.bool_],
    spacing: Sequence[float] | None,
) -> tuple[Lesion, ...]:
    parts = components(mask, connectivity=2)
    part_sizes = np.bincount(parts.ravel())
    out = []
    for number, place in enumerate(find_objects(numbers), start=1):
        rows, columns = place
        touching = np.bincount(parts[place][numbers[place] == number], minlength=len(part_sizes))
        touching[0] = 0
        predicted = int(part_sizes[touching > 0].sum())
        pixels = int(sizes[number])
        out.append(
            Lesion(
                pixels=pixels,
                share=pixels / numbers.size,
                diameter_mm=None if spacing is None else 2 * math.sqrt(pixels * spacing[0] * spacing[1] / math.pi),
                box=(rows.start, columns.start, rows.stop, columns.stop),
                score=scores.get(number),
                dice=2 * int(touching.sum()) / (pixels + predicted),
                void=bool(too_small[number]),
            )
        )
    return tuple(out)
