"""Failures of a comparison's rows."""

from __future__ import annotations

import numpy as np
import pytest

from engines.scoring.lesion_files import LesionResult
from engines.scoring.matching import FALSE, HIT, ImageLesions, Judged, Lesion, Rule
from scripts.comparison.models import Model
from scripts.comparison.store import Result
from scripts.comparison.table import Comparison, compare
from scripts.comparison.worst_table import (
    case_order,
    case_remarks,
    failure_records,
    failure_table,
    failures,
    wrong_class,
)


def image(number: int, shared: int, found: bool = True, false: int = 0) -> ImageLesions:
    lesion = Lesion(10, 0.01, None, (0, 0, 3, 3), 0.9 if found else None, 0.5)
    hits = (Judged(0.9, 10, (0, 0, 3, 3), HIT, 0),) if found else ()
    wrong = tuple(Judged(0.8, 5, (5, 5, 8, 8), FALSE, None) for _ in range(false))
    return ImageLesions(f"s{number}", f"s{number}_L", 10, 10, shared, (lesion,), (*hits, *wrong))


MATRIX = np.array([[80, 0, 10], [0, 5, 5], [0, 0, 10]])
"""Half of class 1 is taken for class 2."""


def compared(images: tuple[ImageLesions, ...] | None, title: str = "U-Net") -> Comparison:
    subjects = {f"s{n}": MATRIX if n else np.diag([80, 10, 10]) for n in range(3)}
    row = Result(
        "unet", "run", ("id",), "validation", ("background", "gland", "tumor"), "tiny", "d", subjects,
        folds=(subjects,), lesions=LesionResult(("tumor",), Rule(), images) if images else None,
        model=Model("unet", title, (0, 0)),
    )  # fmt: skip
    return compare([row], 100, 0)


def test_images_worst_first_with_their_reasons() -> None:
    found = failures(compared((image(0, 9), image(1, 2, found=False), image(2, 9, false=2))))
    assert [(f.case, f.reason, f.missed, f.false) for f in found] == [
        ("s1_L", "missed, leaked, cut short", 1, 0), ("s2_L", "false", 0, 2), ("s0_L", "", 0, 0),
    ]  # fmt: skip
    table = failure_table(found)
    assert table[0] == ["Image", "Model", "Reason", "Missed", "False", "Dice"]
    assert table[1:] == [
        ["s1_L", "U-Net", "missed, leaked, cut short", "1", "0", "20.0"], ["s2_L", "U-Net", "false", "0", "2", "90.0"],
    ]  # fmt: skip
    assert len(failure_records(found, "tiny")) == 3
    order = case_order([*found, *found])
    assert sorted(order, key=lambda case: order[case]) == ["s1_L", "s2_L", "s0_L"]
    assert case_remarks(found, "s0_L") == ["U-Net: nothing to say (Dice 90.0)"]


def test_subjects_where_no_lesions_were_counted() -> None:
    found = failures(compared(None))
    assert [(f.case, f.reason) for f in found] == [
        ("s1", "wrong class: 50 % of gland taken for tumor"), ("s2", "wrong class: 50 % of gland taken for tumor"),
        ("s0", ""),
    ]  # fmt: skip
    # mean IoU of s1: (80/90 + 5/10 + 10/25) / 3
    assert found[0].score == pytest.approx((80 / 90 + 0.5 + 0.4) / 3)
    assert failure_table(found)[0] == ["Subject", "Model", "Reason", "Mean IoU"]
    assert len(failure_table(found)) == 3
    assert failure_table(found[2:]) == []


def test_a_class_is_wrong_from_a_quarter_on_and_lesions_are_looked_at_elsewhere() -> None:
    classes = ("a", "b", "c")
    assert wrong_class(np.array([[80, 20, 0], [0, 10, 0], [0, 0, 0]]), classes) == ""
    assert wrong_class(np.array([[75, 25, 0], [0, 10, 0], [0, 0, 0]]), classes) == "wrong class: 25 % of a taken for b"
    assert wrong_class(MATRIX, classes, ("c",)) == ""
