"""Caveats for readers of a comparison's tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from engines.base.replaced_options import SINCE, upgraded
from engines.scoring.intervals import few_subjects
from scripts.comparison.store import Result

OPTIONS_TO_NOTE = (
    "recipe", "image_height", "sampling", "augmentation", "loss", "class_weights", "ema_decay", "mirror_averaging",
    "init_weights", "keep", "precision", "tf32", "seed", "git_commit",
)  # fmt: skip
"""Options that should be the same for all models; others are specific to the networks."""


def notes(results: Sequence[Result], scores: Sequence[Mapping[str, float]], titles: Sequence[str]) -> Iterable[str]:
    """Yield sentences on the number of subjects, the origin of the rows, and the classes in their means."""
    subjects = len(results[0].subjects)
    yield _counted(results[0].classes, scores, titles)
    if subjects < 2:
        yield "One subject: there are no intervals and no test."
    elif few := few_subjects(subjects):
        yield few
    if results[0].section == "validation" and any(r.params.get("keep") == "best" for r in results):
        yield "The best epoch of each stage was chosen on these subjects, which favors every row (keep: best)."
    files = [title for title, result in zip(titles, results, strict=True) if result.pictures is not None]
    if files:
        yield f"Label maps from files: {', '.join(files)}. Their training subjects are unknown."
    several = {title: len(result.trainings) for title, result in zip(titles, results, strict=True) if result.seeds}
    if several:
        each = ", ".join(f"{title} {count}" for title, count in several.items())
        yield f"Means over trainings with different seeds: {each}; intervals of this table are over subjects only."
        yield "FROC curves, stated thresholds, pictures and worst cases are of one training per row."
    for option in OPTIONS_TO_NOTE:
        values = {given(result, option) for result in results if result.params}
        if len(values) > 1:
            yield f"Different training: {option} is {', '.join(sorted(values))}."


def given(result: Result, option: str) -> str:
    """Return the value of an option; for a row of several trainings, all values."""
    return " and ".join(
        sorted({str(upgraded(each.params).get(option, SINCE.get(option, "none"))) for each in result.trainings})
    )


def _counted(classes: Sequence[str], scores: Sequence[Mapping[str, float]], titles: Sequence[str]) -> str:
    """Return a sentence on the number of classes in the means; a class that few rows predict counts only in those."""
    each = [sum(not math.isnan(row[f"iou/{name}"]) for name in classes) for row in scores]
    counts = dict(zip(titles, each, strict=True))
    if len(set(counts.values())) == 1:
        return f"Means are over the {next(iter(counts.values()))} of {len(classes)} classes that occur."
    names = ", ".join(f"{title} {count}" for title, count in counts.items())
    return f"Means are over the classes that occur or are predicted, of {len(classes)}: {names}."
