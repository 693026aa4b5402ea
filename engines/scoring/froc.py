"""Lesion scores over many images: FROC curve, sensitivities, and intervals over subjects.

Every score is a sum over subjects divided by a sum over subjects, so that one bootstrap serves all: subjects are drawn
with replacement, and both sums are computed for the draw. Thresholds are not changed (docs/evaluation.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.scoring.draws import DRAWS, SEED
from engines.scoring.intervals import interval
from engines.scoring.matching import FALSE, ImageLesions, Lesion

RATES = (0.25, 0.5, 1.0, 2.0)
"""False positives per image at which the sensitivity is reported."""

MILLIMETERS = (("under_10_mm", 0.0, 10.0), ("10_to_20_mm", 10.0, 20.0), ("20_mm_or_more", 20.0, math.inf))
THIRDS = ("smallest_third", "middle_third", "largest_third")

Values = NDArray[np.float64]


@lru_cache(maxsize=4)
def subject_draws(number: int, draws: int = DRAWS, seed: int = SEED) -> Values:
    """Return how often each of `number` subjects is in each bootstrap sample: (draws, number)."""
    times = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=draws).astype(np.float64)
    times.flags.writeable = False
    return times


def ratio(numerator: Values, denominator: Values | float) -> Values:
    """Quotient, NaN where the denominator is 0."""
    denominator = np.asarray(denominator, np.float64)
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    return np.divide(numerator, denominator, out=np.full(shape, np.nan), where=denominator > 0)


@dataclass(frozen=True)
class Measure:
    """A score, as contributions of each subject (in order of name) to its numerator and denominator.

    `largest` is the maximum possible value: 1 for a share.
    """

    numerator: Values
    denominator: Values
    largest: float = 1.0

    @property
    def value(self) -> float:
        """The score of all subjects; NaN if the denominator is 0."""
        return float(ratio(np.asarray(self.numerator.sum()), self.denominator.sum()))

    def interval(self, draws: int = DRAWS, seed: int = SEED) -> tuple[float, float]:
        """Return the 95 % interval, see `engines.scoring.intervals`; NaN for fewer than two subjects or no value."""
        return mean_interval([self], draws, seed)


def score_rows(measures: Mapping[str, Measure], draws: int = DRAWS, seed: int = SEED) -> list[dict[str, Any]]:
    """Return name, value and interval of each score."""
    rows: list[dict[str, Any]] = []
    for name, measure in measures.items():
        low, high = measure.interval(draws, seed)
        rows.append({"score": name, "value": measure.value, "low": low, "high": high})
    return rows


def mean_interval(measures: Sequence[Measure], draws: int = DRAWS, seed: int = SEED) -> tuple[float, float]:
    """Return the interval of the mean of one score over several trainings, scored on the same subjects.

    NaN if fewer than two subjects contribute, such as two with a lesion.
    """
    number = len(measures[0].numerator)
    counted = int(np.any([measure.denominator > 0 for measure in measures], axis=0).sum())
    if counted < 2 or any(math.isnan(measure.value) for measure in measures):
        return math.nan, math.nan
    times = subject_draws(number, draws, seed)
    samples = [ratio(times @ measure.numerator, times @ measure.denominator) for measure in measures]
    value = float(np.mean([measure.value for measure in measures]))
    low, high = interval(np.mean(samples, axis=0), value, number, measures[0].largest, counted)
    return float(low), float(high)


class Froc:
    """The FROC curve of images.

    Args:
        images: result of `judge` for each image.

    Attributes:
        thresholds: all distinct candidate scores, highest first.
    """

    def __init__(self, images: Iterable[ImageLesions]) -> None:
        self.images = list(images)
        self.subjects = sorted({image.subject for image in self.images})
        self.thresholds: Values = np.array(
            sorted({c.score for image in self.images for c in image.candidates}, reverse=True), np.float64
        )

    @property
    def normal(self) -> list[ImageLesions]:
        """The images without lesion pixels."""
        return [image for image in self.images if image.dice is None]

    @cached_property
    def _lesion_scores(self) -> Values:
        return _scores([[lesion] for image in self.images for lesion in image.counted])

    @cached_property
    def found(self) -> Values:
        """Lesions found at each threshold."""
        return _at_least(self._lesion_scores, self.thresholds)

    @cached_property
    def false_positives(self) -> Values:
        """False positives at each threshold."""
        return _at_least(_false_scores(self.images), self.thresholds)

    @cached_property
    def sensitivity(self) -> Values:
        """Share of the lesions found at each threshold; NaN without a lesion."""
        return ratio(self.found, len(self._lesion_scores))

    @cached_property
    def false_positives_per_image(self) -> Values:
        """False positives per image at each threshold."""
        return self.false_positives / max(1, len(self.images))

    def threshold_at(self, rate: float) -> float:
        """Return the lowest threshold with at most `rate` false positives per image; infinity if there is none."""
        allowed = np.flatnonzero(self.false_positives_per_image <= rate)
        return float(self.thresholds[allowed[-1]]) if len(allowed) else math.inf

    def rows(self, draws: int = DRAWS, seed: int = SEED) -> list[dict[str, float]]:
        """Return one dictionary per point of the curve."""
        low, high = self.bands(draws, seed)
        normal = _at_least(_false_scores(self.normal), self.thresholds)
        columns = {
            "threshold": self.thresholds,
            "lesions_found": self.found.astype(np.int64),
            "sensitivity": self.sensitivity,
            "sensitivity_low": low,
            "sensitivity_high": high,
            "false_positives": self.false_positives.astype(np.int64),
            "false_positives_per_image": self.false_positives_per_image,
            "false_positives_per_normal_image": ratio(normal, len(self.normal)),
            "image_sensitivity": _share_found(self._grouped(lambda image: image.case), self.thresholds),
            "subject_sensitivity": _share_found(self._grouped(lambda image: ""), self.thresholds),
        }
        lists = [values.tolist() for values in columns.values()]
        return [dict(zip(columns, values, strict=True)) for values in zip(*lists, strict=True)]

    def bands(self, draws: int = DRAWS, seed: int = SEED) -> tuple[Values, Values]:
        """Return the 95 % interval of the sensitivity at each threshold, over subjects."""
        low, high = np.full((2, len(self.thresholds)), np.nan)
        lesions = self._per_subject(lambda image: len(image.counted))
        if len(self.subjects) < 2 or not lesions.any():
            return low, high
        times = subject_draws(len(self.subjects), draws, seed)
        drawn = times @ lesions
        steps = np.unique(self._lesion_scores[self._lesion_scores >= 0])[::-1]  # where the sensitivity changes
        step_of = np.searchsorted(-steps, -self.thresholds, side="right") - 1
        for step in np.unique(step_of):
            score = math.inf if step < 0 else float(steps[step])
            found = self._per_subject(partial(_lesions_found, threshold=score))
            samples = ratio(times @ found, drawn)
            here = step_of == step
            value, counted = float(found.sum() / lesions.sum()), int((lesions > 0).sum())
            low[here], high[here] = interval(samples, value, len(self.subjects), 1.0, counted)
        return low, high

    def at(self, threshold: float | None) -> dict[str, Measure]:
        """Return sensitivities and false positives of the candidates whose score is at least `threshold`.

        None uses each image's own minimum score of kept candidates.

        Names: lesion_sensitivity, image_sensitivity, subject_sensitivity, lesion_false_positives_per_image and, if
        there are normal images, lesion_false_positives_per_normal_image.
        """
        images = [image for image in self.images if image.counted]
        hit = {id(image) for image in images if _lesions_found(image, threshold)}
        subjects = self._per_subject(lambda image: id(image) in hit)
        measures = {
            "lesion_sensitivity": self._measure(
                lambda image: _lesions_found(image, threshold), lambda image: len(image.counted)
            ),
            "image_sensitivity": self._measure(lambda image: id(image) in hit, lambda image: bool(image.counted)),
            "subject_sensitivity": Measure(
                (subjects > 0).astype(np.float64),
                (self._per_subject(lambda image: bool(image.counted)) > 0).astype(np.float64),
            ),
            "lesion_false_positives_per_image": self._measure(
                lambda image: _false(image, threshold), lambda _: 1, math.inf
            ),
        }
        if self.normal:
            measures["lesion_false_positives_per_normal_image"] = self._measure(
                lambda image: _false(image, threshold) * (image.dice is None),
                lambda image: image.dice is None,
                math.inf,
            )
        return measures

    def by_size(self, threshold: float) -> dict[str, Measure]:
        """Return the sensitivity by lesion size: in mm if every lesion's diameter is known, else by share."""
        lesions = [lesion for image in self.images for lesion in image.counted]
        if not lesions:
            return {}
        measures = {}
        for name, belongs in size_bands(lesions).items():
            measures[name] = self._measure(
                partial(_lesions_found, threshold=threshold, belongs=belongs), partial(_lesions, belongs=belongs)
            )
        return measures

    def dice(self) -> dict[str, Measure]:
        """Return lesion_dice of all pixels, mean_image_dice over images with a lesion, mean_lesion_dice over lesions.

        If the masks come from a threshold, the first two also for the most likely class: lesion_dice_argmax, ….
        """
        measures = self._dice(self.images, "")
        if self.images and all(image.argmax is not None for image in self.images):
            measures |= self._dice([_of_argmax(image) for image in self.images], "_argmax")
        measures["mean_lesion_dice"] = self._measure(
            lambda image: sum(lesion.dice for lesion in image.counted), lambda image: len(image.counted)
        )
        return measures

    def _dice(self, images: Sequence[ImageLesions], end: str) -> dict[str, Measure]:
        counts = {id(mine): image for mine, image in zip(self.images, images, strict=True)}
        return {
            f"lesion_dice{end}": self._measure(
                lambda image: 2 * counts[id(image)].shared,
                lambda image: counts[id(image)].truth + counts[id(image)].predicted,
            ),
            f"mean_image_dice{end}": self._measure(
                lambda image: counts[id(image)].dice or 0.0, lambda image: image.dice is not None
            ),
        }

    def _measure(
        self,
        numerator: Callable[[ImageLesions], float],
        denominator: Callable[[ImageLesions], float],
        largest: float = 1.0,
    ) -> Measure:
        return Measure(self._per_subject(numerator), self._per_subject(denominator), largest)

    def _per_subject(self, value: Callable[[ImageLesions], float]) -> Values:
        """Return sums over the images of each subject."""
        place = {subject: number for number, subject in enumerate(self.subjects)}
        sums = np.zeros(len(place))
        for image in self.images:
            sums[place[image.subject]] += value(image)
        return sums

    def _grouped(self, key: Callable[[ImageLesions], str]) -> Values:
        """Return the highest score of a found lesion for each image, or subject, with a lesion."""
        groups: dict[tuple[str, str], list[Lesion]] = {}
        for image in self.images:
            if image.counted:
                groups.setdefault((image.subject, key(image)), []).extend(image.counted)
        return _scores(groups.values())


def size_bands(lesions: Sequence[Lesion]) -> dict[str, Callable[[Lesion], bool]]:
    """Return name of each size band → function whether a lesion belongs to it."""
    if all(lesion.diameter_mm is not None for lesion in lesions):
        return {name: partial(_is_between, "diameter_mm", low, high) for name, low, high in MILLIMETERS}
    edges = [0.0, *np.quantile([lesion.share for lesion in lesions], [1 / 3, 2 / 3]).tolist(), math.inf]
    return {name: partial(_is_between, "share", edges[n], edges[n + 1]) for n, name in enumerate(THIRDS)}


def _is_between(attribute: str, low: float, high: float, lesion: Lesion) -> bool:
    return low <= float(getattr(lesion, attribute)) < high


def _lesions(image: ImageLesions, belongs: Callable[[Lesion], bool]) -> int:
    return sum(map(belongs, image.counted))


def _lesions_found(
    image: ImageLesions, threshold: float | None, belongs: Callable[[Lesion], bool] = lambda _: True
) -> int:
    lowest = image.min_score if threshold is None else threshold
    return sum(lesion.score is not None and lesion.score >= lowest for lesion in filter(belongs, image.counted))


def _of_argmax(image: ImageLesions) -> ImageLesions:
    predicted, shared = image.argmax or (0, 0)
    return replace(image, predicted=predicted, shared=shared)


def _false(image: ImageLesions, threshold: float | None) -> int:
    lowest = image.min_score if threshold is None else threshold
    return sum(c.outcome == FALSE and c.score >= lowest for c in image.candidates)


def _false_scores(images: Iterable[ImageLesions]) -> Values:
    return np.array([c.score for image in images for c in image.candidates if c.outcome == FALSE], np.float64)


def _scores(groups: Iterable[Sequence[Lesion]]) -> Values:
    """Return the highest score of each group of lesions, -1 if none was found."""
    return np.array([max(-1.0 if le.score is None else le.score for le in group) for group in groups], np.float64)


def _at_least(scores: Values, thresholds: Values) -> Values:
    """Return the number of scores that reach each threshold."""
    return (len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left")).astype(np.float64)


def _share_found(scores: Values, thresholds: Values) -> Values:
    return ratio(_at_least(scores, thresholds), len(scores))
