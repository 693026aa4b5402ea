"""Lesion-level counting during an evaluation: the protocol of docs/evaluation.md.

MONAI's `compute_froc_curve_data` is not used: it takes scored points, has no rule for a second candidate on a lesion,
and omits the lowest score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from engines.base.world import gathered
from engines.records.attributes import Attributes, dataset_attributes
from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output
from engines.scoring.confusion_files import identity
from engines.scoring.lesion_classes import lesion_classes
from engines.scoring.lesion_files import LesionResult, write_lesion_result, write_lesion_tables
from engines.scoring.matching import MIN_SCORE, ImageLesions, Rule, judge
from engines.scoring.metrics import confusion_matrix, merged_matrices
from engines.scoring.spacing import pixel_spacings
from engines.scoring.worst_cases import write_worst_cases
from transforms.dataset import Dataset
from transforms.decision import Decision
from transforms.errors import UserError
from transforms.working_resolution import upsampled_argmax, upsampled_probability

if TYPE_CHECKING:
    from ignite.engine import Engine

LESION_OPTIONS = ("hit", "min_lesion_size", "min_lesion_score")
"""Options that only define how lesions are counted, unlike `lesion_class`, which also selects crops for training."""


class LesionDetection:
    """Evaluator handler: finds and judges the candidates of each image, at the label's own resolution.

    Needs a decollating MONAI evaluator whose network returns logits (N, C, h, w), batches with `subject` and `case`,
    and postprocessed outputs with `label` and `pred` (1, H, W). Each of several processes sees its own images; all
    have the result.

    Args:
        lesions: numbers of the classes of lesions, one or more; they are counted as one class.
        class_names: names of the classes, in order; other label values are void.
        about: data recorded with the result: at least `dataset`, `dataset_digest` and `section`.
        rule: what counts as a lesion, and what as a hit.
        spacing: case → (row, column) size of a label's pixel in mm, or None.
        min_score: minimum score of kept candidates, between 0 and 1.
        attributes: attributes for grouping images.

    Attributes:
        decision: rule that decides the pixels of the mask; None keeps the evaluator's prediction.
        point: record of the decision in the result.
        images: images of the last run of the evaluator.
        decided: subject → confusion matrix of the decision; empty without one.

    Raises:
        UserError: `min_score` is not between 0 and 1.
    """

    def __init__(
        self,
        lesions: Sequence[int],
        class_names: Sequence[str],
        about: Mapping[str, Any],
        rule: Rule | None = None,
        spacing: Mapping[str, Sequence[float] | None] | None = None,
        min_score: float | None = None,
        attributes: Attributes | None = None,
    ) -> None:
        self.lesions, self.class_names = list(lesions), list(class_names)
        self.about, self.rule, self.spacing = dict(about), rule or Rule(), dict(spacing or {})
        self.given_score, self.attributes = min_score, attributes or Attributes()
        self.min_score = MIN_SCORE if min_score is None else min_score
        if not isinstance(self.min_score, (int, float)) or not 0 <= self.min_score <= 1:
            raise UserError(f"--min_lesion_score {min_score}: expected a probability between 0 and 1")
        self.decision: Decision | None = None
        self.point: dict[str, Any] | None = None
        self.images: list[ImageLesions] = []
        self.decided: dict[str, NDArray[np.int64]] = {}
        self._logits: torch.Tensor | None = None

    def attach(self, engine: Engine) -> list[Any]:
        """Register on the evaluator; return the handles by which it can be removed."""
        from ignite.engine import Events  # with MONAI this takes seconds, and a comparison does not need it
        from monai.engines.utils import IterationEvents

        return [
            engine.add_event_handler(Events.STARTED, self._start),
            engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._keep_logits),
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._judge),
            engine.add_event_handler(Events.COMPLETED, self._gather),
        ]

    def set_point(self, decision: Decision | None, point: dict[str, Any] | None) -> None:
        """Decide the mask by an operating point from now on, and keep candidates from its minimum score on.

        Args:
            decision: None keeps the most likely class as mask.
            point: the record of the operating point; None keeps candidates as specified in the constructor.
        """
        self.decision, self.point = decision, point
        default = MIN_SCORE if point is None else point["min_lesion_score"]
        self.min_score = default if self.given_score is None else self.given_score

    def _start(self) -> None:
        self.images, self.decided = [], {}

    def _keep_logits(self, engine: Engine) -> None:
        self._logits = engine.state.output["pred"].detach()

    def _judge(self, engine: Engine) -> None:
        assert self._logits is not None
        for item, output, logits in zip(engine.state.batch, engine.state.output, self._logits, strict=True):
            label, pred = (output[key].cpu().numpy()[0] for key in ("label", "pred"))
            size = (int(label.shape[0]), int(label.shape[1]))
            subject, case = str(item["subject"]), str(item["case"])
            argmax = None
            if self.decision is not None:
                argmax = np.isin(pred, self.lesions)
                pred = self._decide(logits, output["label"], subject)
            judged = judge(
                subject,
                case,
                truth=np.isin(label, self.lesions),
                mask=np.isin(pred, self.lesions),
                probability=upsampled_probability(logits, self.lesions, size).numpy(),
                void=label >= len(self.class_names),
                spacing=self.spacing.get(case),
                rule=self.rule,
                min_score=float(self.min_score),
                argmax=argmax,
            )
            self.images.append(replace(judged, attributes=self.attributes.of(subject, case)))
        self._logits = None

    def _decide(self, logits: torch.Tensor, label: torch.Tensor, subject: str) -> NDArray[np.uint8]:
        """Return the label map (H, W) of the decision, and add it to the confusion matrix."""
        pred = upsampled_argmax(logits, (int(label.shape[-2]), int(label.shape[-1])), decision=self.decision).cpu()
        counts = confusion_matrix(label, pred, len(self.class_names))
        self.decided[subject] = self.decided[subject] + counts if subject in self.decided else counts
        found: NDArray[np.uint8] = pred.numpy()[0]
        return found

    def _gather(self) -> None:
        by_case = {(image.subject, image.case): image for image in gathered(self.images)}
        self.images = [by_case[key] for key in sorted(by_case)]
        self.decided = merged_matrices(self.decided)

    @property
    def result(self) -> LesionResult:
        """Result of the last run; its point states the minimum score with which candidates were kept."""
        names = tuple(self.class_names[number] for number in self.lesions)
        point = None if self.point is None else {**self.point, "min_lesion_score": float(self.min_score)}
        return LesionResult(names, self.rule, tuple(self.images), point)

    @property
    def about_rule(self) -> dict[str, Any]:
        """Classes and rules, as plain values."""
        scores = {"min_lesion_score": float(self.min_score), "operating_point": self.point}
        return {"classes": list(self.result.classes), **asdict(self.rule), **scores}

    def scores(self) -> dict[str, float]:
        """Return every score of the protocol; NaN where it has no value."""
        return {name: measure.value for name, measure in self.result.measures().items()}

    def write_confusion_files(self, output: Output, row: str) -> Path:
        """Write lesions-<row>.json."""
        return write_lesion_result(output, row, self.result, self.about)

    def write(self, output: Output, tracking: Tracking, row: str) -> str:
        """Write all files, also to MLflow; return a summary."""
        result = self.result
        for path in (self.write_confusion_files(output, row), *write_lesion_tables(output, result)):
            tracking.log_artifacts(path, "eval")
        write_worst_cases(output, result.images)
        return "\n".join(result.sentences())


def lesion_detection(
    data: Dataset, section: str, options: Mapping[str, Any], spacing: Any = None
) -> LesionDetection | None:
    """Return the handler for a section of a data set; None if no class is a lesion.

    Args:
        options: `lesion_class` and `LESION_OPTIONS`, if given.
        spacing: spacing for images without one, see `pixel_spacings`.

    Raises:
        UserError: one of the options is wrong.
    """
    numbers = lesion_classes(data.class_names, options.get("lesion_class"))
    rule = Rule(options.get("hit") or "iou", options.get("min_lesion_size") or 0)
    if not numbers:
        return None
    return LesionDetection(
        numbers,
        data.class_names,
        {**identity(data), "section": section},
        rule,
        pixel_spacings(data, section, spacing),
        options.get("min_lesion_score"),
        dataset_attributes(data),
    )
