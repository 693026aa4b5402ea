"""Score table, per-subject scores and panels of the weights under evaluation."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output
from engines.records.panels import PanelSaver
from engines.records.predictions import SamplePredictions
from engines.records.score_table import class_table, score_table
from engines.scoring.boundary_scores import BoundaryScores
from engines.scoring.confusion_files import identity, write_confusion_files
from engines.scoring.lesions import LesionDetection
from engines.scoring.metrics import scores, trivial_row, trivial_scores
from engines.scoring.single_pass import PassHandler
from transforms.dataset import Dataset

logger = logging.getLogger("mammoseg")


class Report:
    """Handlers for one run of an evaluator with the weights to be scored, and the output of their results.

    Args:
        section: the part of the data set that the evaluator runs over.
        more: handlers of further measurements.

    Attributes:
        pictures: handlers that draw the pictures.
        handlers: `pictures` and `more`.
    """

    def __init__(
        self,
        data: Dataset,
        section: str,
        output: Output,
        tracking: Tracking,
        more: Sequence[LesionDetection | BoundaryScores] = (),
    ) -> None:
        self.data, self.section, self.output, self.tracking, self.more = data, section, output, tracking, more
        self.samples = SamplePredictions(data.num_classes)
        self.pictures: list[PassHandler] = [PanelSaver(output.panels, data.class_names), self.samples]
        self.handlers: list[PassHandler] = [*self.pictures, *more]

    def write(
        self, evaluator: Any, name: str, earlier: Mapping[str, Mapping[str, float]] | None = None
    ) -> dict[str, dict[str, float]]:
        """Print, write and log tables, per-subject scores and pictures, once the evaluator has run with the handlers.

        Args:
            name: name of the weights' row.
            earlier: already known rows, shown above it.

        Returns the scores of every row.
        """
        data, output, tracking = self.data, self.output, self.tracking
        per_subject = evaluator.state.metric_details["confusion"]
        confusion_files = write_confusion_files(output, name, per_subject, identity(data), self.section)
        self.samples.write(output.predictions, name)
        rows = {trivial_row(data.class_names): trivial_scores(per_subject, data.class_names)}
        rows.update({row: dict(values) for row, values in (earlier or {}).items()})
        final = rows[name] = dict(evaluator.state.metrics)
        for measured in self.more:
            final.update(measured.scores())
            if isinstance(measured, LesionDetection) and measured.decision is not None:
                rows[f"{name}, threshold {measured.decision.threshold:g}"] = self._at_threshold(measured)
        subjects = [{"subject": s, **scores(m, data.class_names)} for s, m in sorted(per_subject.items())]
        tables = [
            output.write_table("subjects", subjects),
            output.write_table("scores", [{"model": row, **values} for row, values in rows.items()]),
        ]
        title = f"Scores on the {len(per_subject)} {self.section} subjects of {data.name}, per cent"
        logger.info("\n%s\n\n%s\n", score_table(rows, title), class_table(final))
        for measured in self.more:
            logger.info("%s\n", measured.write(output, tracking, name))
        tracking.log_metrics(final, step=0)
        for path in (*tables, *confusion_files, output.epochs_file):
            tracking.log_artifacts(path, "eval")
        tracking.log_artifacts(output.predictions, "eval/predictions")
        tracking.log_artifacts(output.panels, "panels")
        return rows

    def _at_threshold(self, measured: LesionDetection) -> dict[str, float]:
        decided = scores(np.sum(list(measured.decided.values()), axis=0), self.data.class_names)
        self.tracking.log_metrics(decided, step=0, prefix="at_threshold/")
        return decided
