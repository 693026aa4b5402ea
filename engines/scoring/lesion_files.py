"""Files of lesion scores: tables for users, and one JSON file that reproduces all of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.records.attributes import kept_terms
from engines.records.tables import write_text
from engines.scoring.froc import RATES, Froc, Measure, score_rows
from engines.scoring.histogram import Histogram
from engines.scoring.intervals import few_subjects, sign
from engines.scoring.lesion_crops import Crop
from engines.scoring.matching import ImageLesions, Judged, Lesion, Rule

if TYPE_CHECKING:
    from engines.records.output_folder import Output

FORMAT = 1
DICE = {
    "lesion_dice": "Dice of all lesion pixels",
    "mean_image_dice": "mean Dice per image with a lesion",
    "lesion_dice_argmax": "without the threshold, Dice of all lesion pixels",
    "mean_image_dice_argmax": "without the threshold, mean Dice per image with a lesion",
    "mean_lesion_dice": "mean Dice per lesion",
}

SPECK = 25
"""Lesions of fewer pixels are reported, as they may be annotation slips."""


@dataclass(frozen=True)
class LesionResult:
    """The lesions of images, counted by one rule.

    Attributes:
        classes: names of the lesion classes, counted as one.
        point: the operating point of the masks and of the kept candidates, as plain values; None if the mask is the
            most likely class.
    """

    classes: tuple[str, ...]
    rule: Rule
    images: tuple[ImageLesions, ...] = field(repr=False)
    point: Mapping[str, Any] | None = None

    @property
    def basis(self) -> tuple[Any, ...]:
        """Properties that results must share to be compared: classes and rule, but not the operating point."""
        return self.classes, self.rule

    def measures(self) -> dict[str, Measure]:
        """Return every score of the protocol by name."""
        froc = Froc(self.images)
        kept = froc.at(None)
        found = {name: kept[name] for name in ("lesion_sensitivity", "lesion_false_positives_per_image")}
        normal = "lesion_false_positives_per_normal_image"
        if normal in kept:
            found[normal] = kept[normal]
        for kind in ("lesion_sensitivity", "image_sensitivity", "subject_sensitivity"):
            for rate in RATES:
                found[f"{kind}_at_{rate:g}fp"] = froc.at(froc.threshold_at(rate))[kind]
        one = froc.threshold_at(1)
        if normal in kept:
            found[f"{normal}_at_1fp"] = froc.at(one)[normal]
        for band, measure in froc.by_size(one).items():
            found[f"lesion_sensitivity_at_1fp/{band}"] = measure
        for name, measure in froc.dice().items():
            found[f"{name}/{'+'.join(self.classes)}" if name.startswith("mean_image_dice") else name] = measure
        return found

    def sentences(self) -> list[str]:
        """Return a summary of the scores as lines of text."""
        froc, measures = Froc(self.images), self.measures()
        lesions = sum(len(image.counted) for image in self.images)
        void = sum(lesion.void for image in self.images for lesion in image.lesions)
        specks = sum(lesion.pixels < SPECK for image in self.images for lesion in image.counted)
        women = len({image.subject for image in self.images if image.counted})
        lines = [
            f"Lesions ({', '.join(self.classes)}): {lesions} in {len(self.images) - len(froc.normal)} of "
            f"{len(self.images)} images, {women} of {len(froc.subjects)} subjects; a hit is: {self.rule.text}."
        ]
        if self.rule.min_lesion_size:
            lines.append(f"{void} lesions of fewer than {self.rule.min_lesion_size} pixels are void.")
        if specks:
            lines.append(f"{specks} lesions have fewer than {SPECK} pixels; --min_lesion_size {SPECK} makes them void.")
        if not lesions:
            return [*lines, "No lesions, hence no sensitivity."]
        for kind, what in (("lesion", "lesions"), ("image", "images"), ("subject", "subjects")):
            values = (f"{_text(measures[f'{kind}_sensitivity_at_{rate:g}fp'])} at {rate:g}" for rate in RATES)
            lines.append(f"{what} found, by false positives per image: {', '.join(values)}")
        for name, measure in measures.items():
            if name.startswith("lesion_sensitivity_at_1fp/"):
                band = name.partition("/")[2].replace("_", " ")
                lines.append(f"  {band}: {_text(measure)} of {measure.denominator.sum():g} lesions at 1")
        lines.append(
            f"candidates of score {self._scores()} or more: sensitivity {_text(measures['lesion_sensitivity'])}, "
            f"false positives per image {_text(measures['lesion_false_positives_per_image'], 1)}"
        )
        for name, measure in measures.items():
            start = name.partition("/")[0]
            if start in DICE:
                lines.append(f"{DICE[start]}: {_text(measure)}")
        if self.point is not None:
            lines.append(point_sentence(self.point))
        few = few_subjects(len(froc.subjects))
        return lines if few is None else [*lines, few]

    def _scores(self) -> str:
        """Return the minimum score of kept candidates; a range for several folds."""
        scores = sorted({image.min_score for image in self.images})
        return f"{scores[0]:g}" if len(scores) == 1 else f"{scores[0]:g} to {scores[-1]:g}"


def write_lesion_result(output: Output, row: str, result: LesionResult, about: Mapping[str, Any]) -> Path:
    """Write lesions-<row>.json: one line per image.

    Args:
        row: a stage.
        about: at least `dataset`, `dataset_digest` and `section`.
    """
    head = {
        "format": FORMAT,
        "row": row,
        **{key: about[key] for key in ("section", "dataset", "dataset_digest")},
        "classes": list(result.classes),
        **asdict(result.rule),
        "operating_point": result.point,
    }
    lines = [f"    {json.dumps(_plain(image), ensure_ascii=False)}" for image in result.images]
    start = json.dumps(head, indent=2, ensure_ascii=False)[:-2]
    path = output.eval / f"lesions-{row}.json"
    write_text(path, start + ',\n  "images": [\n' + ",\n".join(lines) + "\n  ]\n}\n")
    return path


def read_lesion_result(content: Mapping[str, Any]) -> LesionResult:
    """Read what `write_lesion_result` wrote."""
    images = tuple(
        ImageLesions(
            image["subject"],
            image["case"],
            image["truth"],
            image["predicted"],
            image["shared"],
            tuple(Lesion(**{**lesion, "box": tuple(lesion["box"])}) for lesion in image["lesions"]),
            tuple(Judged(score, area, tuple(box), *rest) for score, area, box, *rest in image["candidates"]),
            None if image["histogram"] is None else _histogram(image["histogram"]),
            image["min_score"],
            None if image["argmax"] is None else tuple(image["argmax"]),
            kept_terms(image.get("attributes", {})),
            tuple(_crop(*crop) for crop in image.get("crops", [])),
        )
        for image in content["images"]
    )
    rule = Rule(content["hit"], content["min_lesion_size"])
    return LesionResult(tuple(content["classes"]), rule, images, content["operating_point"])


def pooled_lesions(results: Sequence[LesionResult]) -> LesionResult | None:
    """Return the results of several folds as one; None if they were not counted by the same rule."""
    if len({result.basis for result in results}) != 1:
        return None
    images = (image for result in results for image in result.images)
    points = [result.point for result in results if result.point is not None]
    whole = replace(results[0], images=tuple(sorted(images, key=lambda image: (image.subject, image.case))))
    return replace(whole, point=_range(points) if len(points) == len(results) else None)


def _range(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the operating points of several folds as one: the lowest and the highest thresholds."""
    whole = dict(points[0])
    for key in ("threshold", "min_lesion_score"):
        values = [float(point[key]) for point in points]
        whole |= {key: min(values), f"highest_{key}": max(values)}
    return whole


def write_lesion_tables(output: Output, result: LesionResult) -> list[Path]:
    """Write images.csv, lesions.csv, candidates.csv, froc.csv and lesion_scores.csv."""
    tables = {
        "images": [_image_row(image) for image in result.images],
        "lesions": [row for image in result.images for row in _lesion_rows(image)],
        "candidates": [row for image in result.images for row in _candidate_rows(image)],
        "froc": Froc(result.images).rows(),
        "lesion_scores": score_rows(result.measures()),
    }
    return [output.write_table(name, rows) for name, rows in tables.items()]


def _plain(image: ImageLesions) -> dict[str, Any]:
    return {
        "subject": image.subject,
        "case": image.case,
        **{name: getattr(image, name) for name in ("truth", "predicted", "shared", "histogram", "min_score", "argmax")},
        **({"attributes": dict(image.attributes)} if image.attributes else {}),
        **({"crops": image.crops} if image.crops else {}),
        "lesions": [asdict(lesion) for lesion in image.lesions],
        "candidates": [[c.score, c.area, c.box, c.outcome, c.lesion] for c in image.candidates],
    }


def _crop(truth: int, predicted: int, shared: int, best_predicted: int, best_shared: int) -> Crop:
    return truth, predicted, shared, best_predicted, best_shared


def _histogram(parts: Sequence[Sequence[Sequence[int]]]) -> Histogram:
    first, second = (tuple((number, pixels) for number, pixels in part) for part in parts)
    return first, second


def point_sentence(point: Mapping[str, Any]) -> str:
    """Return a sentence on an operating point and the subjects it was chosen on."""
    threshold, min_lesion_score = point_numbers(point)
    return (
        f"The mask is where the probability is {threshold} or more; candidates are kept from a score of "
        f"{min_lesion_score} on: rule {point['rule']}, chosen on {point['chosen_on']}."
    )


def point_numbers(point: Mapping[str, Any]) -> tuple[str, str]:
    """Return the mask threshold and the minimum score of candidates as texts; as ranges for several folds."""
    low = {key: float(point[key]) for key in ("threshold", "min_lesion_score")}
    high = {key: float(point.get(f"highest_{key}", low[key])) for key in low}
    text = {key: f"{low[key]:g}" if low[key] == high[key] else f"{low[key]:g} to {high[key]:g}" for key in low}
    return text["threshold"], text["min_lesion_score"]


def _image_row(image: ImageLesions) -> dict[str, Any]:
    min_score = image.min_score
    found = sum(lesion.score is not None and lesion.score >= min_score for lesion in image.counted)
    return {
        "subject": image.subject,
        "case": image.case,
        "dice": image.dice,
        "lesions": len(image.counted),
        "found": found,
        "missed": len(image.counted) - found,
        "false": sum(c.outcome == "false" and c.score >= min_score for c in image.candidates),
        "void": len(image.lesions) - len(image.counted),
    }


def _lesion_rows(image: ImageLesions) -> Sequence[dict[str, Any]]:
    return [
        {"subject": image.subject, "case": image.case, "lesion": number, **asdict(lesion), "box": _box(lesion.box)}
        for number, lesion in enumerate(image.lesions, start=1)
    ]


def _candidate_rows(image: ImageLesions) -> Sequence[dict[str, Any]]:
    return [
        {
            "subject": image.subject,
            "case": image.case,
            "score": candidate.score,
            "area": candidate.area,
            "box": _box(candidate.box),
            "hit": candidate.outcome,
            "lesion": None if candidate.lesion is None else candidate.lesion + 1,
        }
        for candidate in image.candidates
    ]


def _box(box: Sequence[int]) -> str:
    """ "top left bottom right" """
    return " ".join(map(str, box))


def _text(measure: Measure, factor: float = 100) -> str:
    """ "81.2 % [70.1, 90.0]", or "1.20 [0.90, 1.50]" with a factor of 1."""
    value, (low, high) = measure.value, measure.interval()
    if math.isnan(value):
        return "n/a"
    digits, unit, few = (*((1, " %") if factor == 100 else (2, "")), sign(len(measure.numerator)))
    bounds = "" if math.isnan(low) else f" [{factor * low:.{digits}f}, {factor * high:.{digits}f}]{few}"
    return f"{factor * value:.{digits}f}{unit}{bounds}"
