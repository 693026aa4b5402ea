"""Files behind the scores of a stage, on disk and in MLflow."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output
from engines.records.predictions import write_label_maps
from engines.scoring.confusion_files import write_confusion_files
from engines.scoring.metrics import PAPER_METRICS
from engines.training.plan import Stage

logger = logging.getLogger("mammoseg")


def leave_evidence(
    output: Output, tracking: Tracking, stage: str, best: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    """Write confusion matrices and pictures of a stage's weights; log them to the MLflow runs of stage and training."""
    if "confusion" not in best:  # resumed from the record of an older version
        return
    files = write_confusion_files(output, stage, best["confusion"], settings, "validation")
    files += [output.eval / f"lesions-{stage}.json", output.eval / f"boundary-{stage}.json"]  # if they were measured
    pictures = output.predictions / stage
    write_label_maps(pictures, best["predictions"])
    for run_id in (tracking.stage_run_id, tracking.run_id):
        for path in files:
            tracking.log_artifacts(path, "eval", run_id)
        tracking.log_artifacts(pictures, f"eval/predictions/{stage}", run_id)


def say_how_it_ended(stage: Stage, epoch: int, best: Mapping[str, Any], keep: str, monitor: str) -> None:
    """Log the last epoch of a stage, and the scores of the epoch that it ends with."""
    logger.info(
        "Stage %s %s after epoch %d of %d; %s epoch %d: %s.",
        *(stage.name, f"stopped early ({monitor} did not improve)" if epoch < stage.max_epochs else "ended", epoch),
        *(stage.max_epochs, keep, best["epoch"], ", ".join(f"{m} {best['scores'][m]:.4f}" for m in PAPER_METRICS)),
    )
