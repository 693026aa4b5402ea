"""Boundary scores of the images of an evaluation, by class, with intervals over subjects."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.base.world import gathered
from engines.records.mlflow_run import Tracking
from engines.records.tables import write_text
from engines.scoring.boundary import boundaries
from engines.scoring.confusion_files import identity
from engines.scoring.froc import Measure, score_rows
from engines.scoring.intervals import sign
from engines.scoring.spacing import pixel_spacings
from transforms.dataset import Dataset
from transforms.errors import UserError

if TYPE_CHECKING:
    from ignite.engine import Engine

    from engines.records.output_folder import Output

FORMAT = 1
TOLERANCE_MM, TOLERANCE_PERCENT = 1.0, 0.5
"""Default tolerance if every image has a pixel spacing; else in percent of the image's height."""

MM, PERCENT = "mm", "percent"
MEAN = "mean"
"""In place of a class: the mean over an image's classes without the background."""

KINDS = ("nsd", "hd95", "boundary_iou")

Values = tuple[float, float, float]
"""nsd, hd95, boundary_iou; NaN where not defined."""


@dataclass(frozen=True)
class ImageBoundaries:
    """Scores of one image: class name → values, without the background."""

    subject: str
    case: str
    classes: Mapping[str, Values]

    def values(self, name: str) -> Values:
        """Return the values of a class, or the mean over the classes that have a value."""
        if name != MEAN:
            return self.classes[name]
        every = np.array(list(self.classes.values()))
        known = ~np.isnan(every)
        sums, counts = np.where(known, every, 0).sum(axis=0), known.sum(axis=0)
        nsd, hd95, iou = (float(s / n) if n else math.nan for s, n in zip(sums, counts, strict=True))
        return nsd, hd95, iou


@dataclass(frozen=True)
class BoundaryResult:
    """Boundary scores of images for one tolerance.

    Attributes:
        unit: unit of distances: "mm", or "percent" of the image's height.
    """

    classes: tuple[str, ...]
    unit: str
    tolerance: float
    images: tuple[ImageBoundaries, ...] = field(repr=False)

    @property
    def basis(self) -> tuple[Any, ...]:
        """Properties that results must share to be compared."""
        return self.classes, self.unit, self.tolerance

    @property
    def tolerance_text(self) -> str:
        """ "1 mm"."""
        return f"{self.tolerance:g} {'mm' if self.unit == MM else '% of the height'}"

    def name(self, kind: str, of: str) -> str:
        """Name of a score: nsd/tumor, hd95_mm/tumor, boundary_iou/tumor; mean_nsd."""
        full = f"hd95_{self.unit}" if kind == "hd95" else kind
        return f"{MEAN}_{full}" if of == MEAN else f"{full}/{of}"

    def measures(self) -> dict[str, Measure]:
        """Return every score: the mean over the images in which it is defined."""
        subjects = sorted({image.subject for image in self.images})
        place = {subject: number for number, subject in enumerate(subjects)}
        found = {}
        for of in (*self.classes, MEAN):
            sums, counts = np.zeros((2, len(KINDS), len(subjects)))
            for image in self.images:
                values = np.array(image.values(of))
                known = ~np.isnan(values)
                sums[:, place[image.subject]] += np.where(known, values, 0)
                counts[:, place[image.subject]] += known
            for number, kind in enumerate(KINDS):
                largest = math.inf if kind == "hd95" else 1.0
                found[self.name(kind, of)] = Measure(sums[number], counts[number], largest)
        return found

    def sentences(self) -> list[str]:
        """Return a line per class."""
        measures = self.measures()
        unit = "mm" if self.unit == MM else "% of the height"
        lines = [
            f"Boundaries, mean over the images with the class: normalized surface Dice at {self.tolerance_text}, 95th "
            f"percentile of the Hausdorff distance in {unit} (where both have the class), boundary IoU at "
            f"{self.tolerance_text}:"
        ]
        for of in (*self.classes, MEAN):
            nsd, hd95, iou = (measures[self.name(kind, of)] for kind in KINDS)
            known = int(nsd.denominator.sum()), int(hd95.denominator.sum())
            lines.append(
                f"  {of}  {_text(nsd, 100)}, {_text(hd95, 1)}, {_text(iou, 100)} ({known[0]}, {known[1]} images)"
            )
        return lines


class BoundaryScores:
    """Evaluator handler: measures the boundaries of each image, at the label's own resolution.

    Needs decollated batches with `subject` and `case`, and outputs with `label` and `pred` (1, H, W). Each of several
    processes sees its own images; all have the result.

    Args:
        data: the data set.
        section: section whose images are scored.
        tolerance: in mm; None for the default.
        spacing: spacing for images without one, see `pixel_spacings`.

    Raises:
        UserError: the tolerance is not a positive number, or is given without a spacing of every image.
    """

    def __init__(self, data: Dataset, section: str, tolerance: Any = None, spacing: Any = None) -> None:
        self.about = {**identity(data), "section": section}
        self.class_names = data.class_names
        self.spacing = pixel_spacings(data, section, spacing)
        self.unit = MM if all(each is not None for each in self.spacing.values()) else PERCENT
        self.tolerance = _tolerance(tolerance, self.unit)
        self.images: list[ImageBoundaries] = []

    def attach(self, engine: Engine) -> list[Any]:
        """Register on the evaluator; return the handles by which it can be removed."""
        from ignite.engine import Events  # imports torch.distributed, which a comparison does not need

        return [
            engine.add_event_handler(Events.STARTED, self._start),
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._measure),
            engine.add_event_handler(Events.COMPLETED, self._gather),
        ]

    def _start(self) -> None:
        self.images = []

    def _measure(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            label, pred = (output[key].cpu().numpy()[0] for key in ("label", "pred"))
            self.take(str(item["subject"]), str(item["case"]), label, pred)

    def take(self, subject: str, case: str, label: Any, pred: Any) -> None:
        """Measure one image: label maps (rows, columns) of integers."""
        known = self.spacing[case] if self.unit == MM else None
        spacing = (100 / label.shape[0],) * 2 if known is None else known
        truth, mine = (np.ascontiguousarray(each, dtype=np.uint8) for each in (label, pred))
        found = boundaries(truth, mine, len(self.class_names), spacing, self.tolerance)[1:]
        values = {name: (one.nsd, one.hd95, one.iou) for name, one in zip(self.class_names[1:], found, strict=True)}
        self.images.append(ImageBoundaries(subject, case, values))

    def _gather(self) -> None:
        by_case = {(image.subject, image.case): image for image in gathered(self.images)}
        self.images = [by_case[key] for key in sorted(by_case)]

    @property
    def result(self) -> BoundaryResult:
        """Measurements of the last run."""
        images = tuple(sorted(self.images, key=lambda image: (image.subject, image.case)))
        return BoundaryResult(tuple(self.class_names[1:]), self.unit, self.tolerance, images)

    def scores(self) -> dict[str, float]:
        """Return every score; NaN where it has no value."""
        return {name: measure.value for name, measure in self.result.measures().items()}

    def write_confusion_files(self, output: Output, row: str) -> Path:
        """Write boundary-<row>.json."""
        return write_boundary_result(output, row, self.result, self.about)

    def write(self, output: Output, tracking: Tracking, row: str) -> str:
        """Write boundary.csv, boundary_scores.csv and boundary-<row>.json, also to MLflow; return lines about them."""
        result = self.result
        rows = [
            {"subject": image.subject, "case": image.case}
            | {
                result.name(kind, of): value
                for of, values in image.classes.items()
                for kind, value in zip(KINDS, values, strict=True)
            }
            for image in result.images
        ]
        tables = {"boundary": rows, "boundary_scores": score_rows(result.measures())}
        written = (output.write_table(name, content) for name, content in tables.items())
        for path in (self.write_confusion_files(output, row), *written):
            tracking.log_artifacts(path, "eval")
        return "\n".join(result.sentences())


def write_boundary_result(output: Output, row: str, result: BoundaryResult, about: Mapping[str, Any]) -> Path:
    """Write boundary-<row>.json: one line per image."""
    head = {
        "format": FORMAT,
        "row": row,
        **{key: about[key] for key in ("section", "dataset", "dataset_digest")},
        "classes": list(result.classes),
        "unit": result.unit,
        "tolerance": result.tolerance,
    }
    lines = [
        "    " + json.dumps([image.subject, image.case, [_plain(image.classes[name]) for name in result.classes]])
        for image in result.images
    ]
    path = output.eval / f"boundary-{row}.json"
    text = json.dumps(head, indent=2, ensure_ascii=False)[:-2]
    write_text(path, text + ',\n  "images": [\n' + ",\n".join(lines) + "\n  ]\n}\n")
    return path


def read_boundary_result(content: Mapping[str, Any]) -> BoundaryResult:
    """Read what `write_boundary_result` wrote."""
    classes = tuple(content["classes"])
    images = []
    for subject, case, values in content["images"]:
        each = [tuple(math.nan if value is None else float(value) for value in three) for three in values]
        images.append(ImageBoundaries(subject, case, dict(zip(classes, each, strict=True))))  # type: ignore[arg-type]
    return BoundaryResult(classes, content["unit"], float(content["tolerance"]), tuple(images))


def pooled_boundaries(results: Sequence[BoundaryResult]) -> BoundaryResult | None:
    """Return the results of several folds as one; None if they were not measured alike."""
    if len({result.basis for result in results}) != 1:
        return None
    images = sorted((i for result in results for i in result.images), key=lambda image: (image.subject, image.case))
    first = results[0]
    return BoundaryResult(first.classes, first.unit, first.tolerance, tuple(images))


def _tolerance(given: Any, unit: str) -> float:
    if given is None:
        return TOLERANCE_MM if unit == MM else TOLERANCE_PERCENT
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 < given < math.inf:
        raise UserError(f"--tolerance {given}: expected a distance in mm above 0, such as 1")
    if unit == PERCENT:
        raise UserError(
            f"--tolerance {given}: in mm, and not all images have a pixel spacing; give --spacing, or leave it out"
        )
    return float(given)


def _plain(values: Values) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values]


def _text(measure: Measure, factor: float) -> str:
    value, (low, high) = measure.value * factor, measure.interval()
    if math.isnan(value):
        return "n/a"
    few = sign(len(measure.numerator))
    return f"{value:.1f}" if math.isnan(low) else f"{value:.1f} [{factor * low:.1f}, {factor * high:.1f}]{few}"
