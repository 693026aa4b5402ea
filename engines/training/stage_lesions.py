"""Scores of lesions and boundaries of the weights at the end of a stage, and the operating point stored beside them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from monai.engines import SupervisedEvaluator

from engines.records.output_folder import Output
from engines.scoring.boundary_scores import BoundaryScores
from engines.scoring.lesions import LesionDetection
from engines.scoring.operating_point import OperatingPoint, choose_point, decision_of, rule_rate
from engines.scoring.single_pass import PassHandler, run_once
from transforms.errors import UserError

logger = logging.getLogger("mammoseg")

POINT_OPTIONS = ("threshold_rule",)
"""Options that may change on resume, unlike `threshold_from` and `threshold_share`, which select training subjects."""


class StageLesions:
    """Runs the evaluator with the final weights of a stage.

    Args:
        detection: counts lesions on the evaluator's own images.
        options: options of the training: `labels`, `threshold_from` (None: the mask is the most likely class),
            `threshold_rule` and `min_lesion_score`.
        held_out: batches of training subjects held out from training, for `threshold_from` "training".

    Raises:
        UserError: unknown rule.
    """

    def __init__(
        self, detection: LesionDetection, options: Mapping[str, Any], held_out: Iterable[Any] | None = None
    ) -> None:
        self.detection, self.options, self.held_out = detection, dict(options), held_out
        self.source: str | None = options.get("threshold_from")
        self.rule = str(options.get("threshold_rule") or "dice")
        rule_rate(self.rule)

    def finish(
        self, evaluator: SupervisedEvaluator, output: Output, stage: str, also: Sequence[PassHandler] = ()
    ) -> dict[str, Any] | None:
        """Choose the operating point, count the lesions with it and write their file; return the point's record.

        Args:
            also: handlers for the run in which the lesions are counted.
        """
        detection = self.detection
        point = self._choose(evaluator)
        if point is not None:
            record = point.record
            given = self.options.get("min_lesion_score")
            record["min_lesion_score"] = point.min_lesion_score if given is None else float(given)
            detection.set_point(decision_of({**self.options, "operating_point": record}), record)
            logger.info(
                "Stage %s: a lesion from probability %g on, chosen on %d subjects (%s, rule %s).",
                *(stage, point.threshold, point.subjects, point.chosen_on, point.rule),
            )
        run_once(evaluator, [*also, detection])
        detection.write_confusion_files(output, stage)
        return detection.point

    def _choose(self, evaluator: SupervisedEvaluator) -> OperatingPoint | None:
        detection = self.detection
        detection.set_point(None, None)
        if self.source is None:
            return None
        if self.source == "validation":
            run_once(evaluator, [detection])
            where = "the training's validation subjects, whose scores it favors"
        elif self.held_out is None:
            raise UserError("--threshold_from training: this training holds no subjects out; give validation")
        else:
            run_once(evaluator, [detection], self.held_out)
            where = "training subjects that were not trained with"
        return choose_point(detection.images, self.rule, where, detection.result.classes)


def score_end(
    evaluator: SupervisedEvaluator,
    output: Output,
    stage: str,
    lesions: StageLesions | None,
    boundaries: BoundaryScores | None,
    pictures: Sequence[PassHandler],
) -> dict[str, Any] | None:
    """Run all measurements of a stage's final weights in one pass; return the operating point's record."""
    handlers, point = [*pictures, *([] if boundaries is None else [boundaries])], None
    if lesions is not None:
        point = lesions.finish(evaluator, output, stage, handlers)
    elif handlers:
        run_once(evaluator, handlers)
    if boundaries is not None:
        boundaries.write_confusion_files(output, stage)
    return point


def end_scores(lesions: StageLesions | None, boundaries: BoundaryScores | None) -> dict[str, float]:
    """Return the scores of that pass."""
    found = {} if lesions is None else lesions.detection.scores()
    return found | ({} if boundaries is None else boundaries.scores())


def stage_lesions(
    detection: LesionDetection | None, options: Mapping[str, Any], held_out: Iterable[Any] | None
) -> StageLesions | None:
    """Return the lesion scoring of a training's stages; None if no class is a lesion.

    Raises:
        UserError: no class is a lesion, but a threshold is to be chosen.
    """
    if detection is not None:
        return StageLesions(detection, options, held_out)
    if options.get("threshold_from") is not None:
        raise UserError("--threshold_from: no class is a lesion; name one with --lesion_class, or leave it out")
    return None
