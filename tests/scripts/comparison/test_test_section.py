"""Score of the best row on a test section: conditions, and sentence in the report."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scripts.comparison.console_table import console
from scripts.comparison.models import Model
from scripts.comparison.store import Result
from scripts.comparison.table import compare, records
from scripts.comparison.test_section import with_test_scores


def result(title: str, right: int, parent: str, section: str = "validation", first: int = 0) -> Result:
    """24 subjects of 100 background and 100 tumor pixels, of which `right` and a few more are right."""
    subjects = {}
    for number in range(first, first + 24):
        good = right + number % 5
        subjects[f"s{number:02d}"] = np.array([[100, 0], [100 - good, good]])
    return Result("front", title, (f"{title}-{section}",), section, ("background", "tumor"), "tiny", "d", subjects,
                  folds=(subjects,), model=Model(title, title, (0, 0)), parent_id=parent)  # fmt: skip


class Store:
    """Stand-in for `scripts.comparison.store.Store`, with evaluations: training → result."""

    def __init__(self, evaluations: dict[str, Result], **tags: str) -> None:
        self.evaluations, self.tags = evaluations, tags

    def runs(self) -> list[Any]:
        plain = {"kind": "evaluation", "section": "test", "dataset": "tiny", "stage": "front", **self.tags}
        tags = [{**plain, "training_run_id": key} for key in self.evaluations]
        return [
            SimpleNamespace(info=SimpleNamespace(run_id=each["training_run_id"]), data=SimpleNamespace(tags=each))
            for each in tags
        ]

    def result(self, run: Any) -> Result | None:
        return self.evaluations[run.info.run_id]


def best_and_other() -> list[Result]:
    return [result("U-Net", 80, "a"), result("FCN", 60, "b")]


def test_the_best_row_is_scored_on_the_test_section() -> None:
    store: Any = Store({"a": result("U-Net", 70, "", "test", first=40)})
    (made,) = with_test_scores(store, [compare(best_and_other(), 200, 0)], 200, 0)
    assert made.verdict is not None
    assert made.verdict.test is not None
    found = 24 * 70 + sum(number % 5 for number in range(40, 64))  # of 24 x 100 pixels, none predicted wrongly
    assert made.verdict.test.value == pytest.approx(2 * found / (found + 2400))
    assert made.verdict.test.low < made.verdict.test.value < made.verdict.test.high
    assert "U-Net on the test section, independent of this choice: 83." in console(made)
    assert "(24 subjects; scored there: only this)" in console(made)
    rows = {row["model"]: row for row in records(made)}
    assert rows["U-Net"]["test_value"] == made.verdict.test.value
    assert rows["FCN"]["test_value"] is None


def test_several_trainings_scored_on_the_test_section_are_counted() -> None:
    tested = result("U-Net", 70, "", "test", first=40)
    store: Any = Store({"a": tested, "b": tested, "c": tested})
    (made,) = with_test_scores(store, [compare(best_and_other(), 200, 0)], 200, 0)
    assert "scored there: 3 trainings, which favors the best of them" in console(made)


@pytest.mark.parametrize(
    ("evaluations", "tags"),
    [
        ({"b": result("FCN", 70, "", "test", first=40)}, {}),
        ({"a": result("U-Net", 70, "", "test", first=10)}, {}),
        ({"a": None}, {}),
        ({"a": result("U-Net", 70, "", "test", first=40)}, {"stage": "context"}),
        ({"a": result("U-Net", 70, "", "test", first=40)}, {"dataset": "other"}),
        ({"a": result("U-Net", 70, "", "validation", first=40)}, {"section": "validation"}),
    ],
    ids=["another row", "subjects of both sections", "no matrices", "another stage", "another data set", "validation"],
)
def test_no_score_where_the_best_row_has_none(evaluations: dict[str, Any], tags: dict[str, str]) -> None:
    store: Any = Store(evaluations, **tags)
    (made,) = with_test_scores(store, [compare(best_and_other(), 200, 0)], 200, 0)
    assert made.verdict is not None
    assert made.verdict.test is None


def test_every_seed_needs_a_score() -> None:
    first, other = best_and_other()
    several = [replace(first, seeds=(result("U-Net", 79, "a2"),)), other]
    tested = {"a": result("U-Net", 70, "", "test", first=40), "a2": result("U-Net", 60, "", "test", first=40)}
    store: Any = Store(tested)
    (made,) = with_test_scores(store, [compare(several, 200, 0)], 200, 0)
    assert made.verdict is not None
    assert made.verdict.test is not None
    extra = sum(number % 5 for number in range(40, 64))
    each = [2 * found / (found + 2400) for found in (24 * 70 + extra, 24 * 60 + extra)]
    assert made.verdict.test.value == pytest.approx(np.mean(each))
    assert "scored there: only this" in console(made)
    del tested["a2"]
    (made,) = with_test_scores(store, [compare(several, 200, 0)], 200, 0)
    assert made.verdict is not None
    assert made.verdict.test is None
