"""Score of the best row on the test section, on which it was not chosen, if evaluated there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from mlflow.entities import Run

from scripts.comparison.metric import verdict_rows
from scripts.comparison.statement_table import TestScore
from scripts.comparison.store import Result, Store
from scripts.comparison.table import Comparison
from scripts.verdict.spread import score_interval
from transforms.errors import UserError

SECTION = "test"


def with_test_scores(store: Store, comparisons: Sequence[Comparison], draws: int, seed: int) -> list[Comparison]:
    """Add the best row's score on the test section to comparisons of validation subjects, if its trainings have one."""
    runs: list[Run] | None = None
    out = []
    for comparison in comparisons:
        if comparison.verdict is None or comparison.section != "validation":
            out.append(comparison)
            continue
        runs = list(store.runs()) if runs is None else runs
        evaluated = [run for run in runs if _is_test_of(run, comparison.dataset)]
        found = _score(store, comparison, evaluated, draws, seed)
        out.append(
            comparison if found is None else replace(comparison, verdict=replace(comparison.verdict, test=found))
        )
    return out


def _is_test_of(run: Run, dataset: str) -> bool:
    tags = run.data.tags
    return (tags.get("kind"), tags.get("section"), tags.get("dataset")) == ("evaluation", SECTION, dataset)


def _score(store: Store, comparison: Comparison, evaluated: Sequence[Run], draws: int, seed: int) -> TestScore | None:
    verdict = comparison.verdict
    row = next(row for row in comparison.rows if verdict and row.title == verdict.statement.best)
    if verdict is None or row.result is None:
        return None
    found = [_latest(store, evaluated, training) for training in row.result.trainings]
    results = [result for result in found if result is not None]
    if len(results) < len(found) or len({result.basis for result in results}) != 1 or _overlap(row.result, results[0]):
        return None
    first, *others = results
    try:
        tested = verdict_rows([row.title], [replace(first, seeds=tuple(others))], verdict.metric)
    except UserError:  # lesions were not counted there
        return None
    value, low, high = score_interval(tested[0], draws, seed)
    if np.isnan(low):
        return None
    scored = len({run.data.tags.get("training_run_id", run.info.run_id) for run in evaluated})
    return TestScore(row.title, value, low, high, tested[0].subjects, scored, len(results))


def _latest(store: Store, evaluated: Iterable[Run], training: Result) -> Result | None:
    """Return the latest evaluation of a training's stage that has matrices."""
    for run in evaluated:
        tags = run.data.tags
        if training.parent_id and tags.get("training_run_id") == training.parent_id and tags["stage"] == training.stage:
            result = store.result(run)
            if result is not None:
                return result
    return None


def _overlap(validated: Result, tested: Result) -> bool:
    return bool(validated.subjects.keys() & tested.subjects.keys())
