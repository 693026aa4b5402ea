"""The confusion matrix of each subject, counted while an evaluator runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from ignite.engine import Engine
from ignite.metrics import Metric
from numpy.typing import NDArray

from engines.scoring.metrics import confusion_matrix, merged_matrices, scores


class SubjectConfusion(Metric):
    """Ignite metric: one confusion matrix per subject; their sum gives every score of `scores`.

    Attached as MONAI's key metric under one of the score names, it puts all the other scores beside it into
    `engine.state.metrics`, and the matrices into `engine.state.metric_details["confusion"]` (subject → (C, C)).

    Needs a decollating MONAI engine: batches with `subject`, outputs with `label` and `pred`, (1, H, W) label maps.

    Args:
        class_names: names of the classes, in order.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = list(class_names)
        self.per_subject: dict[str, NDArray[np.int64]] = {}
        super().__init__()

    def reset(self) -> None:
        """Remove all subjects."""
        self.per_subject = {}

    def iteration_completed(self, engine: Engine) -> None:
        """Add the label maps of one batch with their subjects."""
        pairs = zip(engine.state.batch, engine.state.output, strict=True)
        self.update([(item["subject"], output["label"], output["pred"]) for item, output in pairs])

    def update(self, output: Sequence[tuple[str, torch.Tensor, torch.Tensor]]) -> None:
        """Add label maps of one batch."""
        for subject, truth, pred in output:
            counts = confusion_matrix(truth, pred, len(self.class_names))
            if subject in self.per_subject:
                counts = self.per_subject[subject] + counts
            self.per_subject[subject] = counts

    def compute(self) -> dict[str, float]:
        """Scores of the summed matrix of all subjects (of all processes)."""
        self.per_subject = merged_matrices(self.per_subject)
        size = len(self.class_names)
        total = sum(self.per_subject.values(), np.zeros((size, size), dtype=np.int64))
        return scores(total, self.class_names)

    def completed(self, engine: Engine, name: str) -> None:
        """Store the scores in the engine's state, the key metric's under `name` as a plain number."""
        result = self.compute()
        if name not in result:
            raise ValueError(f"unknown metric {name!r}; choose from {', '.join(result)}")
        engine.state.metrics.update(result)
        engine.state.metric_details["confusion"] = self.per_subject
