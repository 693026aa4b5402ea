"""Public name of `engines.scoring.metrics`, which users rely on: `engines.metrics.scores`."""

from engines.scoring.metrics import PAPER_METRICS, confusion_matrix, metric_names, scores
from engines.scoring.subject_confusion import SubjectConfusion

__all__ = ["PAPER_METRICS", "SubjectConfusion", "confusion_matrix", "metric_names", "scores"]
