"""Scores of one full-resolution label map: confusion matrix of this project against two metrics of MONAI.

    python -m scripts.benchmark metrics [--rows 4096] [--columns 3328] [--classes 13] [--repeats 3] [--json]

Both run in this process on the same maps, similar to those of an evaluation: blocks of classes with scattered wrong
pixels. MONAI's `MeanIoU` and `ConfusionMatrixMetric` take one-hot maps, whose creation is counted. At the default size
they need about 6 GB.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
import torch
import typer
from monai.metrics import ConfusionMatrixMetric, MeanIoU
from monai.networks import one_hot
from rich.console import Console
from rich.table import Table
from torch import Tensor

from engines.scoring.metrics import confusion_matrix, scores
from scripts.measuring.peak_memory import peak, reset_peak


@dataclass(frozen=True)
class Cost:
    """Seconds (the shortest of the repeats) and peak memory beyond what was held before, in MB; NaN if unknown."""

    name: str
    seconds: float
    memory_mb: float


def label_maps(rows: int, columns: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return a truth of 64 x 64 blocks and a prediction with two per cent redrawn pixels, uint8 (1, rows, columns)."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, classes, (-(-rows // 64), -(-columns // 64)), dtype=np.uint8)
    truth = blocks.repeat(64, 0).repeat(64, 1)[:rows, :columns].copy()
    wrong = rng.random(truth.shape) < 0.02
    pred = truth.copy()
    pred[wrong] = rng.integers(0, classes, int(wrong.sum()), dtype=np.uint8)
    return torch.from_numpy(truth)[None], torch.from_numpy(pred)[None]


def with_monai(truth: Tensor, pred: Tensor, classes: int) -> None:
    """Compute IoU and rates of one image with MONAI's metrics."""
    y, y_pred = (one_hot(labels[None].long(), classes, dtype=torch.uint8) for labels in (truth, pred))
    iou, rates = MeanIoU(), ConfusionMatrixMetric(metric_name=("sensitivity", "specificity", "accuracy"))
    for metric in (iou, rates):
        metric(y_pred=y_pred, y=y)
        metric.aggregate()


def with_matrix(truth: Tensor, pred: Tensor, classes: int) -> None:
    """Compute all scores from one confusion matrix."""
    scores(confusion_matrix(truth, pred, classes))


def cost(name: str, action: Callable[[], None], repeats: int) -> Cost:
    """Measure `repeats` runs of `action`."""
    before, shortest = reset_peak(), math.inf
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        shortest = min(shortest, time.perf_counter() - start)
    return Cost(name, shortest, peak() - before)


def metrics(
    rows: Annotated[int, typer.Option(min=1, help="Rows of the label maps.")] = 4096,
    columns: Annotated[int, typer.Option(min=1, help="Columns of the label maps.")] = 3328,
    classes: Annotated[int, typer.Option(min=2, max=255, help="Number of classes.")] = 13,
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions; the fastest is reported.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time and memory of all scores of one label map, against MONAI's MeanIoU and ConfusionMatrixMetric."""
    truth, pred = label_maps(rows, columns, classes)
    with_matrix(truth[:, :64], pred[:, :64], classes)  # starts the threads
    ours = cost("engines.scoring.metrics", lambda: with_matrix(truth, pred, classes), repeats)
    reference = cost("MONAI", lambda: with_monai(truth, pred, classes), repeats)
    ratios = {
        "times_faster": reference.seconds / ours.seconds,
        "times_less_memory": reference.memory_mb / max(ours.memory_mb, 0.1),
    }
    if as_json:
        print(json.dumps({"costs": [asdict(ours), asdict(reference)], **ratios}))
        return
    table = Table("", "seconds", "memory (MB)", title=f"{rows} x {columns}, {classes} classes")
    for each in (ours, reference):
        table.add_row(each.name, f"{each.seconds:.3g}", f"{each.memory_mb:.3g}")
    table.add_row("times less", *(f"{value:.3g}" for value in ratios.values()))
    Console().print(table)
