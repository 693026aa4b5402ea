"""Trained on one data set, tested on another: rows, and the table over all data sets."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.comparison.choice import _latest
from scripts.comparison.models import Model
from scripts.comparison.store import Result
from scripts.comparison.table import compare, table_markdown
from scripts.comparison.transfer import transfer_heading, transfer_records, transfer_table, transfers


def result(trained_on: str, dataset: str, right: int, bundle: str = "U-Net", started: int = 0) -> Result:
    """24 subjects of which `right` of 100 tumor pixels, and a few more, are right."""
    subjects = {f"{dataset}{n:02d}": np.array([[100, 0], [100 - right - n % 5, right + n % 5]]) for n in range(24)}
    params = {"trained_on": trained_on} if trained_on else {}
    return Result("deeplabv3", f"{bundle} {trained_on}", (f"{bundle}{trained_on}{dataset}",), "test",
                  ("background", "tumor"), dataset, dataset, subjects, started, folds=(subjects,), params=params,
                  model=Model(bundle, bundle, (0, 0)))  # fmt: skip


def every() -> list[list[Result]]:
    """Results of the data sets a and b."""
    return [[result("a", "a", 80), result("b", "a", 50)], [result("a", "b", 40), result("b", "b", 70)]]


def test_networks_of_several_data_sets_are_rows_of_their_own() -> None:
    older = result("a", "a", 10, started=-1)
    assert len(_latest([*every()[0], older])) == 2
    assert [row.title for row in compare(every()[0], 100, 0).rows] == ["U-Net, trained on a", "U-Net, trained on b"]


def test_the_table_over_all_data_sets() -> None:
    comparisons = [compare(results, 200, 0) for results in every()]
    found = transfers(comparisons, 200, 0)
    assert transfer_heading(found) == "Trained on (rows), tested on (columns): dice/tumor, per cent"
    head, first, second = transfer_table(found)
    assert head == ["Model", "Trained on", "a", "b"]
    assert first[:2] == ["U-Net", "a"]
    extra = np.mean([n % 5 for n in range(24)])
    own, other = (200 * (right + extra) / (100 + right + extra) for right in (80, 40))
    assert first[2].startswith(f"{own:.1f} [")
    assert first[2].endswith("] (own)")
    assert first[3].startswith(f"{other:.1f} [")
    assert second[1] == "b"
    records = transfer_records(found)
    assert [(one["trained_on"], one["tested_on"]) for one in records] == [
        ("a", "a"),
        ("a", "b"),
        ("b", "a"),
        ("b", "b"),
    ]
    assert all(one["low"] < one["value"] < one["high"] for one in records)
    assert table_markdown(transfer_table(found)).splitlines()[1] == "|---|---|---|---|"


@pytest.mark.parametrize("own", [[result("a", "a", 80)], [result("", "a", 80)]], ids=["evaluation", "training"])
def test_there_is_none_where_nothing_was_tested_elsewhere(own: list[Result]) -> None:
    assert transfers([compare(own, 100, 0)], 100, 0) == []
    assert transfer_table([]) == []
