"""Learning curve: one network trained on growing fractions of the subjects, to see the gain from more annotations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from engines.base.paths import project_root
from engines.records.tables import write_csv, write_text
from engines.scoring.draws import DRAWS, SEED
from engines.scoring.figures import save_figure, save_vector
from engines.scoring.intervals import few_subjects, sign
from scripts.comparison.metric import default_metric, fold_numbers, lower_is_better, verdict_rows
from scripts.comparison.store import Result
from scripts.crossvalidation.run import cross_validate
from scripts.crossvalidation.state import fold_folder
from scripts.verdict.spread import joint_draws, seed_spread, subject_draws, usable_folds
from transforms.dataset import Dataset
from transforms.errors import UserError

NAME = "learning_curve"
FORETOLD = 2
"""Factor on the number of subjects to which the score is extrapolated."""


@dataclass(frozen=True)
class Point:
    """Score of the trainings on one fraction of the subjects.

    Attributes:
        subjects: number of training subjects, mean over the folds.
        low, high: 95 % interval over the scored subjects.
    """

    share: float
    subjects: float
    score: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """Score against number of training subjects.

    Attributes:
        scored: number of subjects scored, by every network.
        doubling: change of the score with twice as many subjects, by a line through all points, with its 95 % interval.
        foretold: score extrapolated along the line to `FORETOLD` times the available subjects, with its interval.
    """

    metric: str
    points: tuple[Point, ...]
    scored: int
    doubling: tuple[float, float, float]
    foretold: tuple[float, float, float]


def checked_shares(text: str) -> list[float]:
    """Parse the fractions; return them in ascending order.

    Raises:
        UserError: there are fewer than two, or one is not above 0 and at most 1.
    """
    try:
        shares = sorted({float(word) for word in text.split(",")})
    except ValueError:
        shares = []
    if len(shares) < 2 or not 0 < shares[0] < shares[-1] <= 1:
        raise UserError(f"--train_shares {text!r}: expected two or more fractions up to 1, such as 0.25,0.5,1")
    return shares


def learning_curve(
    bundle: str,
    shares: Sequence[float],
    dataset_dir: Path | None,
    out: Path | None,
    metric: str | None = None,
    figures: Sequence[str] = (),
    **options: Any,
) -> Curve:
    """Cross-validate with every unfinished fraction, and write learning_curve.csv, .json and .png.

    Args:
        options: further arguments of `cross_validate`, without bundles, train_share and out.

    Raises:
        UserError: as in `cross_validate`, or the score is unknown.
    """
    name = f"{bundle}-{'sample' if dataset_dir is None else dataset_dir.resolve().name}-shares"
    folder = (out or project_root() / "outputs" / "crossval" / name).resolve()
    results, subjects = [], []
    for share in shares:
        place = folder / f"share-{100 * share:g}"
        comparison = cross_validate([bundle], dataset_dir=dataset_dir, train_share=share, out=place, **options)
        found = [row.result for row in comparison.rows if row.result is not None]
        results.append(found[-1])  # of the last stage
        counts = [_trained(fold_folder(place, n + 1) / "dataset") for n in range(len(found[-1].folds))]
        subjects.append(float(np.mean(counts)))
    curve = curve_of(results, shares, subjects, metric or default_metric(results[0].classes))
    write_csv(folder / f"{NAME}.csv", [{"metric": curve.metric, **vars(point)} for point in curve.points])
    write_text(folder / f"{NAME}.json", json.dumps(curve_record(curve), indent=1) + "\n")
    figure = chart(curve, f"{bundle}, {results[0].dataset}")
    save_figure(figure, folder / f"{NAME}.png")
    for end in figures:
        save_vector(figure, folder / f"{NAME}.{end}")
    return curve


def curve_record(curve: Curve) -> dict[str, Any]:
    """Return the curve as plain values."""
    return {**vars(curve), "points": [vars(point) for point in curve.points]}


def _trained(folder: Path) -> int:
    return len({item["subject"] for item in Dataset.load(folder).content["training"]})


def curve_of(results: Sequence[Result], shares: Sequence[float], subjects: Sequence[float], metric: str) -> Curve:
    """Compute the curve from results that were scored on the same subjects.

    Args:
        subjects: number of training subjects of each result.

    Raises:
        UserError: the score is unknown or has no value, or all results have as many training subjects.
    """
    rows = verdict_rows([f"{100 * share:g} %" for share in shares], results, metric)
    if any(np.isnan(row.values()).any() for row in rows):
        raise UserError(f"--metric {metric}: has no value on these subjects; choose another score")
    if len(set(subjects)) < 2:
        raise UserError(f"--train_shares: each leaves {subjects[0]:g} subjects to train on; give smaller ones as well")
    folds, rng = usable_folds(fold_numbers(results[0])), np.random.default_rng(SEED)
    drawn = joint_draws(rows, subject_draws(folds, DRAWS, rng), seed_spread(rows, folds), folds, rng)[0]
    values = np.array([float(row.values().mean()) for row in rows])
    low, high = np.clip(np.percentile(drawn, [2.5, 97.5], axis=1), 0, rows[0].largest)
    x = np.log2(np.asarray(subjects, np.float64))
    slope, at_end = _line(x, values[:, None]), x[-1] + np.log2(FORETOLD)
    slopes = _line(x, drawn)
    ahead = np.clip(values.mean() + slope[0] * (at_end - x.mean()), 0, rows[0].largest)
    drawn_ahead = np.clip(drawn.mean(axis=0) + slopes * (at_end - x.mean()), 0, rows[0].largest)
    points = tuple(
        Point(share, subjects[n], float(values[n]), float(low[n]), float(high[n])) for n, share in enumerate(shares)
    )
    return Curve(metric, points, rows[0].subjects, _bounds(slope[0], slopes), _bounds(ahead, drawn_ahead))


def _line(x: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return slopes of least-squares lines through (points, draws) values."""
    away = x - x.mean()
    slopes: NDArray[np.float64] = away @ values / (away @ away)
    return slopes


def _bounds(value: float, drawn: NDArray[np.float64]) -> tuple[float, float, float]:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(value), float(low), float(high)


def sentences(curve: Curve) -> list[str]:
    """Format the curve as lines of a table with an interpretation."""
    factor = 1 if lower_is_better(curve.metric) else 100
    few = sign(curve.scored)

    def text(values: tuple[float, float, float], signed: bool = False) -> str:
        value, low, high = (f"{factor * each:{'+' if signed else ''}.2f}" for each in values)
        return f"{value} [{low}, {high}]{few}"

    lines = [f"{curve.metric} by number of training subjects, {curve.scored} subjects scored", ""]
    lines += [
        f"{point.subjects:8.1f} ({100 * point.share:g} %)  {text((point.score, point.low, point.high))}"
        for point in curve.points
    ]
    last = curve.points[-1].subjects
    lines += [
        "",
        f"Twice as many subjects: {text(curve.doubling, True)}. Extrapolated from {last:.0f} to {FORETOLD * last:.0f} "
        f"subjects: {text(curve.foretold)}. Curves flatten: consider this an upper limit.",
        "[95 % interval over the scored subjects]; each fraction is one training per fold: another seed moves all "
        "points.",
    ]
    sentence = few_subjects(curve.scored)
    return lines if sentence is None else [*lines, sentence]


def chart(curve: Curve, heading: str) -> Figure:
    """Plot score against number of training subjects, with the extrapolation dashed."""
    factor = 1 if lower_is_better(curve.metric) else 100
    figure = Figure(figsize=(6.4, 4.2), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    x = [point.subjects for point in curve.points]
    y = factor * np.array([[point.score, point.low, point.high] for point in curve.points])
    axes.errorbar(x, y[:, 0], np.abs(y[:, 1:] - y[:, :1]).T, color="#0072B2", marker="o", capsize=3)
    ahead = factor * np.array(curve.foretold)
    axes.plot([x[-1], FORETOLD * x[-1]], [y[-1, 0], ahead[0]], color="#0072B2", linestyle="--", linewidth=1)
    axes.errorbar([FORETOLD * x[-1]], ahead[:1], np.abs(ahead[1:, None] - ahead[0]), color="#888888", capsize=3)
    axes.set_xscale("log")
    ticks = [*x, FORETOLD * x[-1]]
    axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("training subjects")
    axes.set_ylabel(curve.metric + (", per cent" if factor == 100 else ""))
    axes.set_title(f"{heading}\nwhiskers: 95 % intervals over subjects; dashed: extrapolated", fontsize=9)
    return figure
