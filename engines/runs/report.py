"""Table, per-subject scores and pictures of weights that are scored."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engines.inference.finite import naming_case
from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output
from engines.records.panels import PanelSaver
from engines.records.predictions import SamplePredictions
from engines.records.score_table import class_table, score_table
from engines.scoring.confusion_files import identity, write_evidence
from engines.scoring.lesions import LesionDetection
from engines.scoring.metrics import scores, trivial_scores
from engines.scoring.surface_distance import SurfaceDistance
from transforms.dataset import Dataset

logger = logging.getLogger("mammoseg")

TRIVIAL = "all background"


def report(
    evaluator: Any,
    name: str,
    data: Dataset,
    section: str,
    output: Output,
    tracking: Tracking,
    earlier: Mapping[str, Mapping[str, float]] | None = None,
    more: Sequence[LesionDetection | SurfaceDistance] = (),
) -> dict[str, dict[str, float]]:
    """Run the evaluator on its weights; print, write and log the table, per-subject scores and pictures.

    Args:
        name: what to call the weights' row.
        section: the part of the data set that the evaluator runs over.
        earlier: rows known already, shown above it.
        more: handlers that measure something else.

    Returns the scores of every row.
    """
    output.clear_panels()
    samples = SamplePredictions(data.num_classes)
    for handler in (PanelSaver(output.panels, data.class_names), samples, *more):
        handler.attach(evaluator)
    with naming_case(evaluator):
        evaluator.run()
    per_subject = evaluator.state.metric_details["confusion"]
    evidence = write_evidence(output, name, per_subject, identity(data), section)
    samples.write(output.predictions, name)
    rows = {TRIVIAL: trivial_scores(per_subject, data.class_names)}
    rows.update({row: dict(values) for row, values in (earlier or {}).items()})
    final = rows[name] = dict(evaluator.state.metrics)
    for measured in more:
        final.update(measured.scores())
        if isinstance(measured, LesionDetection) and measured.decision is not None:
            decided = np.sum(list(measured.decided.values()), axis=0)
            rows[f"{name}, threshold {measured.decision.threshold:g}"] = scores(decided, data.class_names)
            tracking.log_metrics(scores(decided, data.class_names), step=0, prefix="at_threshold/")
    subjects = [{"subject": s, **scores(m, data.class_names)} for s, m in sorted(per_subject.items())]
    tables = [
        output.write_table("subjects", subjects),
        output.write_table("scores", [{"model": row, **values} for row, values in rows.items()]),
    ]
    title = f"Scores on the {len(per_subject)} {section} subjects of {data.name}, per cent"
    logger.info("\n%s\n\n%s\n", score_table(rows, title), class_table(final))
    for measured in more:
        logger.info("%s\n", measured.write(output, tracking, name))
    tracking.log_metrics(final, step=0)
    tracking.log_metrics({k: v for k, v in rows[TRIVIAL].items() if "/" not in k}, step=0, prefix="all_background/")
    for path in (*tables, *evidence, output.epochs_file):
        tracking.log_artifacts(path, "eval")
    tracking.log_artifacts(output.predictions, "eval/predictions")
    tracking.log_artifacts(output.panels, "panels")
    return rows
