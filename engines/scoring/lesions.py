"""Lesions instead of pixels: sensitivity against false positives per image (FROC).

The rule. Lesions are the 8-connected components of the lesion classes, taken together, in the truth; findings are those
of the prediction, with void pixels of the truth left out of both. A lesion is detected if some finding overlaps it with
an intersection over union of at least `overlap`; a finding that overlaps no lesion so far is a false positive. An image
without a lesion counts as an image, and all its findings are false positives. The label map gives one operating point.
The network's probability gives one for each threshold, with the components of `probability >= threshold` as findings.

MONAI's `compute_froc_curve_data` is not used: it takes scored candidates, and leaves out the lowest of the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from numpy.typing import NDArray
from skimage.measure import label as components

from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output
from transforms.errors import UserError
from transforms.vocabulary import is_lesion

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
OVERLAP = 0.1


@dataclass(frozen=True)
class Counts:
    """Of one image or, summed, of many."""

    lesions: int = 0
    detected: int = 0
    false_positives: int = 0
    images: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.lesions + other.lesions,
            self.detected + other.detected,
            self.false_positives + other.false_positives,
            self.images + other.images,
        )

    @property
    def sensitivity(self) -> float:
        """Share of the lesions that are detected; NaN if there is none."""
        return self.detected / self.lesions if self.lesions else float("nan")

    @property
    def false_positives_per_image(self) -> float:
        """NaN without an image."""
        return self.false_positives / self.images if self.images else float("nan")


def lesion_classes(class_names: Sequence[str], wanted: str | Sequence[str] | None = None) -> list[int]:
    """Numbers of the classes whose objects are lesions.

    Args:
        wanted: a class name or several, as a list or separated by commas; "none" for no class; None for those that
            `transforms.vocabulary` knows as lesions.

    Raises:
        UserError: one of them is no class.
    """
    if wanted is None:
        return [number for number, name in enumerate(class_names) if is_lesion(name)]
    if isinstance(wanted, str):
        wanted = [wanted] if wanted in class_names else [name.strip() for name in wanted.split(",")]
    if list(wanted) == ["none"]:
        return []
    for name in wanted:
        if name not in class_names:
            raise UserError(f"--lesion_class {name}: no such class; there are {', '.join(class_names)}, none")
    return sorted({list(class_names).index(name) for name in wanted})


def count_lesions(truth: NDArray[np.bool_], found: NDArray[np.bool_], overlap: float = OVERLAP) -> Counts:
    """Compare the lesions of one image with the findings: two masks (H, W), by the rule above."""
    lesions, number_of_lesions = components(truth, connectivity=2, return_num=True)
    findings, number_of_findings = components(found, connectivity=2, return_num=True)
    lesion_sizes, finding_sizes = np.bincount(lesions.ravel()), np.bincount(findings.ravel())
    both = (lesions > 0) & (findings > 0)
    pairs, shared = np.unique(np.stack([lesions[both], findings[both]]), axis=1, return_counts=True)
    matched = pairs[:, shared >= overlap * (lesion_sizes[pairs[0]] + finding_sizes[pairs[1]] - shared)]
    detected, right = (len(np.unique(numbers)) for numbers in matched)
    return Counts(number_of_lesions, detected, number_of_findings - right, 1)


class LesionDetection:
    """Evaluator handler: counts lesions image by image, at the labels' own resolution.

    Needs a decollating MONAI evaluator whose network gives logits (N, C, h, w), batches with `subject` and `case`,
    and postprocessed outputs with `label` and `pred` (1, H, W).

    Args:
        lesions: numbers of the classes of lesions, one or more; they are counted as one class.
        class_names: names of the classes, in order; labels that are none of them are void.
        overlap: smallest intersection over union of a detection.
        thresholds: of the probability, for the curve.
    """

    def __init__(
        self,
        lesions: Sequence[int],
        class_names: Sequence[str],
        overlap: float = OVERLAP,
        thresholds: Sequence[float] = THRESHOLDS,
    ) -> None:
        self.lesions, self.class_names = list(lesions), list(class_names)
        self.overlap, self.thresholds = overlap, tuple(thresholds)
        self.images: list[tuple[str, str, Counts]] = []
        self.curve: dict[float, Counts] = dict.fromkeys(self.thresholds, Counts())
        self._probability: torch.Tensor | None = None

    def attach(self, engine: Engine) -> None:
        """Register on the evaluator."""
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._keep_probability)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._count)

    def _keep_probability(self, engine: Engine) -> None:
        logits = engine.state.output["pred"]
        self._probability = torch.softmax(logits.detach().float(), dim=1)[:, self.lesions].sum(dim=1).cpu()

    def _count(self, engine: Engine) -> None:
        assert self._probability is not None
        for item, output, probability in zip(engine.state.batch, engine.state.output, self._probability, strict=True):
            label, pred = (output[key].cpu().numpy()[0] for key in ("label", "pred"))
            truth, valid = np.isin(label, self.lesions), label < len(self.class_names)
            counts = count_lesions(truth, np.isin(pred, self.lesions) & valid, self.overlap)
            self.images.append((str(item["subject"]), str(item["case"]), counts))
            size = (int(label.shape[0]), int(label.shape[1]))
            large = F.interpolate(probability[None, None], size=size, mode="bilinear", antialias=False)[0, 0].numpy()
            for threshold in self.thresholds:
                found = (large >= threshold) & valid
                self.curve[threshold] += count_lesions(truth, found, self.overlap)
        self._probability = None

    @property
    def names(self) -> str:
        """The classes of lesions, as "mass, distortion"."""
        return ", ".join(self.class_names[number] for number in self.lesions)

    @property
    def total(self) -> Counts:
        """All images, at the operating point of the label maps."""
        return sum((counts for *_, counts in self.images), Counts())

    def scores(self) -> dict[str, float]:
        """The operating point of the label maps."""
        total = self.total
        return {
            "lesion_sensitivity": total.sensitivity,
            "lesion_false_positives_per_image": total.false_positives_per_image,
        }

    def write(self, output: Output, tracking: Tracking) -> str:
        """Leave lesions.csv (each image) and froc.csv (each operating point), also in MLflow; say what is there."""
        images = [{"subject": s, "case": c, **_row(counts)} for s, c, counts in self.images]
        points: list[dict[str, Any]] = [{"threshold": "label map", **_point(self.total)}]
        points += [{"threshold": t, **_point(counts)} for t, counts in self.curve.items()]
        for path in (output.write_table("lesions", images), output.write_table("froc", points)):
            tracking.log_artifacts(path, "eval")
        tracking.log_metrics(self.scores(), step=0)
        total = self.total
        rule = f"IoU of at least {self.overlap:g}"
        return (
            f"{self.names}: {total.detected} of {total.lesions} lesions detected ({rule}), "
            f"{total.false_positives_per_image:.2f} false positives per image over {total.images} images; "
            "other thresholds in froc.csv"
        )


def _row(counts: Counts) -> dict[str, int]:
    return {"lesions": counts.lesions, "detected": counts.detected, "false_positives": counts.false_positives}


def _point(counts: Counts) -> dict[str, float]:
    return {
        **_row(counts),
        "sensitivity": counts.sensitivity,
        "false_positives_per_image": counts.false_positives_per_image,
    }
