"""Boundary scores of two full-resolution label maps: against surface-distance and SciPy's distance transform.

    python -m scripts.benchmark boundary [--rows 4096] [--columns 3328] [--classes 13] [--json]

Measures processor seconds in one process, and peak memory beyond the two label maps, of three computations: surface
Dice, Hausdorff distance and boundary IoU of all classes here; the first two by surface-distance (DeepMind), if
installed; and only one distance transform per class and map. The maps are patches, as predicted by networks, and
noise, where all pixels are boundary.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.ndimage import distance_transform_edt, gaussian_filter, zoom

from engines.scoring.boundary import boundaries
from scripts.measuring.peak_memory import peak, reset_peak

SPACING, TOLERANCE = (0.07, 0.07), 1.0
Labels = NDArray[np.uint8]


def patches(rows: int, columns: int, classes: int, seed: int) -> tuple[Labels, Labels]:
    """Return a map of large patches of every class, and the same map with boundaries shifted by some pixels."""
    rng = np.random.default_rng(seed)
    size = (rows // 16, columns // 16)
    fields = gaussian_filter(rng.normal(0, 1, (classes, *size)), (0, 12, 12))
    wrong = fields + 0.01 * gaussian_filter(rng.normal(0, 1, fields.shape), (0, 4, 4)) * 8
    maps = []
    for each in (fields, wrong):
        best = np.full((rows, columns), -np.inf, np.float32)
        label = np.zeros((rows, columns), np.uint8)
        for c, field in enumerate(each):
            large = zoom(field.astype(np.float32), (rows / size[0], columns / size[1]), order=1)[:rows, :columns]
            label[large > best], best = c, np.maximum(large, best)
        maps.append(label)
    return maps[0], maps[1]


def noise(rows: int, columns: int, classes: int, seed: int) -> tuple[Labels, Labels]:
    """Return two maps with random classes in all pixels."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, classes, (2, rows, columns), dtype=np.uint8)
    return first, second


def with_surface_distance(truth: Labels, pred: Labels, classes: int) -> None:
    """Compute surface Dice and Hausdorff distance of every class."""
    package: Any = importlib.import_module("surface_distance")
    for c in range(classes):
        found = package.compute_surface_distances(truth == c, pred == c, SPACING)
        package.compute_surface_dice_at_tolerance(found, TOLERANCE)
        package.compute_robust_hausdorff(found, 95)


def with_transforms(truth: Labels, pred: Labels, classes: int) -> None:
    """Compute a distance transform of every class in both maps."""
    for label in (truth, pred):
        for c in range(classes):
            distance_transform_edt(label != c, sampling=SPACING)


def cost(action: Callable[[], object]) -> dict[str, float]:
    """Measure processor seconds, and peak memory in MB, of one call."""
    before, start = reset_peak(), time.process_time()
    action()
    return {"seconds": time.process_time() - start, "memory_mb": peak() - before}


def boundary(
    rows: Annotated[int, typer.Option(min=64, help="Rows of the label maps.")] = 4096,
    columns: Annotated[int, typer.Option(min=64, help="Columns of the label maps.")] = 3328,
    classes: Annotated[int, typer.Option(min=2, max=255, help="Number of classes.")] = 13,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the maps.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Time and memory of boundary scores of label maps, against surface-distance and SciPy's distance transforms."""
    known = importlib.util.find_spec("surface_distance") is not None
    lines = []
    for name, make in (("patches", patches), ("noise", noise)):
        truth, pred = make(rows, columns, classes, seed)
        line: dict[str, Any] = {
            "maps": name,
            "ours": cost(partial(boundaries, truth, pred, classes, SPACING, TOLERANCE)),
            "distance transforms": cost(partial(with_transforms, truth, pred, classes)),
        }
        if known and name == "patches":
            line["surface-distance"] = cost(partial(with_surface_distance, truth, pred, classes))
        lines.append(line)
    if as_json:
        print(json.dumps(lines))
        return
    titles = ("maps", "here", "distance transforms", "surface-distance")
    table = Table(*titles, title=f"{rows} x {columns}, {classes} classes: s, MB")
    for line in lines:
        costs = (line.get(key) for key in ("ours", "distance transforms", "surface-distance"))
        table.add_row(line["maps"], *(_cell(each) for each in costs))
    Console().print(table)


def _cell(each: dict[str, float] | None) -> str:
    return "not measured" if each is None else f"{each['seconds']:.2f}, {each['memory_mb']:.0f}"
