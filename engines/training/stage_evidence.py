"""Files behind the scores of a stage, on disk and in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output
from engines.records.predictions import write_label_maps
from engines.scoring.confusion_files import write_confusion_files


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
