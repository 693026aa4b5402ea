"""What is left of lesion scores: tables for people, and one file from which they can all be made again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from engines.records.output_folder import Output, write_text
from engines.scoring.froc import DRAWS, RATES, SEED, Froc, Measure
from engines.scoring.matching import ImageLesions, Judged, Lesion, Rule

FORMAT = 1
MIN_SCORE = 0.5
"""Smallest score of the candidates that are kept, where nothing else was chosen."""

SPECK = 25
"""Lesions of fewer pixels are mentioned, as they may be slips of the pen."""


@dataclass(frozen=True)
class LesionResult:
    """The lesions of some images, by one rule.

    Attributes:
        classes: names of the lesion classes, counted as one.
        min_score: smallest score of the candidates that are kept.
    """

    classes: tuple[str, ...]
    rule: Rule
    min_score: float
    images: tuple[ImageLesions, ...] = field(repr=False)

    @property
    def basis(self) -> tuple[Any, ...]:
        """What results must share to be compared: classes and rules, but not the score that was chosen."""
        return self.classes, self.rule

    def measures(self) -> dict[str, Measure]:
        """Every score of the protocol by name."""
        froc = Froc(self.images)
        kept = froc.at(self.min_score)
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
        dice = froc.dice()
        found[f"mean_image_dice/{'+'.join(self.classes)}"] = dice["mean_image_dice"]
        found["mean_lesion_dice"] = dice["mean_lesion_dice"]
        return found

    def sentences(self) -> list[str]:
        """What a person wants to know first."""
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
            return [*lines, "No lesion to find: there is no sensitivity."]
        for kind, what in (("lesion", "lesions"), ("image", "images"), ("subject", "subjects")):
            values = (f"{_text(measures[f'{kind}_sensitivity_at_{rate:g}fp'])} at {rate:g}" for rate in RATES)
            lines.append(f"{what} found, by false positives per image: {', '.join(values)}")
        for name, measure in measures.items():
            if name.startswith("lesion_sensitivity_at_1fp/"):
                band = name.partition("/")[2].replace("_", " ")
                lines.append(f"  {band}: {_text(measure)} of {measure.denominator.sum():g} lesions at 1")
        lines.append(
            f"candidates of score {self.min_score:g} or more: sensitivity {_text(measures['lesion_sensitivity'])}, "
            f"false positives per image {_text(measures['lesion_false_positives_per_image'], 1)}"
        )
        names = {"mean Dice per image with a lesion": "mean_image_dice", "mean Dice per lesion": "mean_lesion_dice"}
        for text, start in names.items():
            lines.append(f"{text}: {_text(next(m for n, m in measures.items() if n.startswith(start)))}")
        return lines


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
        "min_lesion_score": result.min_score,
    }
    lines = [f"    {json.dumps(_plain(image), ensure_ascii=False)}" for image in result.images]
    start = json.dumps(head, indent=2, ensure_ascii=False)[:-2]
    path = output.eval / f"lesions-{row}.json"
    write_text(path, start + ',\n  "images": [\n' + ",\n".join(lines) + "\n  ]\n}\n")
    return path


def read_lesion_result(content: Mapping[str, Any]) -> LesionResult:
    """What `write_lesion_result` wrote."""
    images = tuple(
        ImageLesions(
            image["subject"],
            image["case"],
            image["dice"],
            tuple(Lesion(**{**lesion, "box": tuple(lesion["box"])}) for lesion in image["lesions"]),
            tuple(Judged(score, area, tuple(box), *rest) for score, area, box, *rest in image["candidates"]),
        )
        for image in content["images"]
    )
    rule = Rule(content["hit"], content["min_lesion_size"])
    return LesionResult(tuple(content["classes"]), rule, content["min_lesion_score"], images)


def pooled_lesions(results: Sequence[LesionResult]) -> LesionResult | None:
    """Those of several folds as one; None if they were not counted by one rule."""
    if len({result.basis for result in results}) != 1:
        return None
    images = (image for result in results for image in result.images)
    return replace(results[0], images=tuple(sorted(images, key=lambda image: (image.subject, image.case))))


def write_lesion_tables(output: Output, result: LesionResult) -> list[Path]:
    """Write images.csv, lesions.csv, candidates.csv, froc.csv and lesion_scores.csv."""
    tables = {
        "images": [_image_row(image, result.min_score) for image in result.images],
        "lesions": [row for image in result.images for row in _lesion_rows(image)],
        "candidates": [row for image in result.images for row in _candidate_rows(image)],
        "froc": Froc(result.images).rows(),
        "lesion_scores": score_rows(result.measures()),
    }
    return [output.write_table(name, rows) for name, rows in tables.items()]


def score_rows(measures: Mapping[str, Measure], draws: int = DRAWS, seed: int = SEED) -> list[dict[str, Any]]:
    """Name, value and interval of each score."""
    rows = []
    for name, measure in measures.items():
        low, high = measure.interval(draws, seed)
        rows.append({"score": name, "value": measure.value, "low": low, "high": high})
    return rows


def _plain(image: ImageLesions) -> dict[str, Any]:
    return {
        "subject": image.subject,
        "case": image.case,
        "dice": image.dice,
        "lesions": [asdict(lesion) for lesion in image.lesions],
        "candidates": [[c.score, c.area, c.box, c.outcome, c.lesion] for c in image.candidates],
    }


def _image_row(image: ImageLesions, min_score: float) -> dict[str, Any]:
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
    digits, unit = (1, " %") if factor == 100 else (2, "")
    bounds = "" if math.isnan(low) else f" [{factor * low:.{digits}f}, {factor * high:.{digits}f}]"
    return f"{factor * value:.{digits}f}{unit}{bounds}"
