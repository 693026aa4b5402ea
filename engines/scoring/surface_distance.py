"""95th percentile of the Hausdorff distance between the outlines of truth and prediction, in mm."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.metrics import compute_hausdorff_distance
from numpy.typing import NDArray

from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output


def hausdorff95(truth: NDArray[np.bool_], pred: NDArray[np.bool_], spacing: Sequence[float]) -> float:
    """95th percentile of the symmetric Hausdorff distance of two masks (H, W), in the unit of `spacing` (row, column).

    NaN where one of the masks is empty: no distance is defined.

    Examples:
        >>> row, next_but_one = np.eye(5, dtype=bool)[[0] * 5], np.eye(5, dtype=bool)[[2] * 5]  # vertical lines
        >>> hausdorff95(row, next_but_one, spacing=(0.1, 0.25))  # two columns of a quarter of a millimeter
        0.5
    """
    if not truth.any() or not pred.any():
        return math.nan
    either = truth | pred  # only this part of a large image has outlines
    rows, columns = (np.flatnonzero(either.any(axis=axis)) for axis in (1, 0))
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    masks = (torch.from_numpy(np.pad(mask[part], 1)).float()[None, None] for mask in (pred, truth))
    with warnings.catch_warnings():  # MONAI calls a part of its own that it has deprecated
        warnings.simplefilter("ignore", FutureWarning)
        distance = compute_hausdorff_distance(*masks, include_background=True, percentile=95, spacing=list(spacing))
    return float(distance[0, 0])


class SurfaceDistance:
    """Evaluator handler: the distance of each class but the background, image by image. Takes seconds per image.

    Needs decollated batches with `subject` and `case`, and outputs with `label` and `pred` (1, H, W). Void pixels of
    the truth are no class in the prediction either.

    Args:
        class_names: names of the classes, in order.
        spacing: case → (row, column) size of a label's pixel in mm; cases without one are left out.
    """

    def __init__(self, class_names: Sequence[str], spacing: Mapping[str, Sequence[float] | None]) -> None:
        self.class_names = list(class_names)
        self.spacing = dict(spacing)
        self.rows: list[dict[str, str | float]] = []
        self.unscaled = 0

    def attach(self, engine: Engine) -> list[Any]:
        """Register on the evaluator; return the handles by which it can be removed."""
        return [engine.add_event_handler(Events.ITERATION_COMPLETED, self._measure)]

    def _measure(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            spacing = self.spacing.get(item["case"])
            if spacing is None:
                self.unscaled += 1
                continue
            label, pred = (output[key].cpu().numpy()[0] for key in ("label", "pred"))
            valid = label < len(self.class_names)
            row: dict[str, str | float] = {"subject": item["subject"], "case": item["case"]}
            for c, name in enumerate(self.class_names[1:], start=1):
                row[f"hd95_mm/{name}"] = hausdorff95(label == c, (pred == c) & valid, spacing)
            self.rows.append(row)

    def scores(self) -> dict[str, float]:
        """Mean over the images in which truth and prediction both have the class; NaN if there is none."""
        result = {}
        for name in self.class_names[1:]:
            values = np.array([float(row[f"hd95_mm/{name}"]) for row in self.rows])
            known = values[~np.isnan(values)]
            result[f"hd95_mm/{name}"] = float(known.mean()) if len(known) else math.nan
        return result

    def write(self, output: Output, tracking: Tracking, row: str) -> str:
        """Leave surface_distance.csv, also in MLflow; return lines about it. All rows have the same file."""
        tracking.log_artifacts(output.write_table("surface_distance", self.rows), "eval")
        means = self.scores()
        tracking.log_metrics(means, step=0)
        lines = ["95th percentile of the Hausdorff distance, mean over the images with the class in both, mm:"]
        for key, value in means.items():
            measured = sum(not math.isnan(float(row[key])) for row in self.rows)
            shown = "n/a" if math.isnan(value) else f"{value:.2f}"
            lines.append(f"  {key.partition('/')[2]}  {shown} ({measured} of {len(self.rows)} images)")
        if self.unscaled:
            lines.append(f"  {self.unscaled} images without a pixel spacing are left out")
        return "\n".join(lines)
