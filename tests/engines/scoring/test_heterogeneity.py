"""Whether groups differ: p-values of small cases, all of whose permutations can be counted by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from engines.scoring.group_tests import GroupTest, cells_of, corrected, group_tests, shown_tests
from engines.scoring.heterogeneity import heterogeneity_p
from engines.scoring.matching import FALSE, HIT, ImageLesions, Judged, Lesion


def p(residuals: list[float], subjects: str, groups: str) -> float:
    return heterogeneity_p(np.array(residuals), list(subjects), list(groups), draws=4000)


@pytest.mark.parametrize(
    ("residuals", "subjects", "groups", "expected"),
    [
        # between subjects: 6 ways to choose two of four, of which aabb and bbaa have the spread 2^2/2 + 2^2/2, others 0
        ([1, 1, -1, -1], "1234", "aabb", 1 / 3),
        # within subjects: each of two exchanges or does not; both or neither have the spread 4, others 0
        ([1, -1, 1, -1], "1122", "xyxy", 1 / 2),
        # the same, with three subjects: of 8 ways all or none
        ([1, -1, 1, -1, 1, -1], "112233", "xyxyxy", 1 / 4),
        # the images of a subject are one: her two images always have one group, 3 of 3 ways have the same spread
        ([1, 1, -1, -1], "1122", "aabb", 1),
        # subjects of one and of two images do not exchange
        ([1, -2, -2], "122", "abb", 1),
        # nothing differs
        ([1, -1, 1, -1], "1234", "aabb", 1),
    ],
)
def test_p_by_hand(residuals: list[float], subjects: str, groups: str, expected: float) -> None:
    assert p(residuals, subjects, groups) == pytest.approx(expected, abs=0.03)


def test_it_depends_on_no_order_and_is_nothing_without_two_groups_or_residuals() -> None:
    rng = np.random.default_rng(0)
    residuals, subjects = rng.normal(size=40), [f"s{n // 2}" for n in range(40)]
    groups = [("a", "b")[n % 3 == 0] for n in range(40)]
    once = heterogeneity_p(residuals, subjects, groups, 200)
    assert heterogeneity_p(residuals, subjects, groups, 200) == once
    assert 0 < once <= 1
    assert math.isnan(p([1, -1], "12", "aa"))
    assert math.isnan(p([0, 0], "12", "ab"))


def image(number: int, found: bool, shared: int, case: str = "L") -> ImageLesions:
    """One lesion of 10 pixels, of which `shared` are in a mask of 10."""
    lesion = Lesion(10, 0.01, None, (0, 0, 3, 3), 0.9 if found else None, 0.5)
    hits = (Judged(0.9, 10, (0, 0, 3, 3), HIT, 0),) if found else (Judged(0.2, 5, (5, 5, 8, 8), FALSE),)
    return ImageLesions(f"s{number:03d}", f"s{number:03d}_{case}", 10, 10, shared, (lesion,), hits)


def attributes(subject: str, case: str) -> dict[str, str]:
    number = int(subject[1:])
    known = {"view": case[-1], "birads": "4"}
    return {**known, "density": "B" if number < 6 else "C"} if number < 12 else known


def test_the_worst_group_and_holm_over_attributes() -> None:
    # Dice of the images: B 0.8, C 0.4, unknown 0.0; views alike
    dice = [8 if n < 6 else 4 if n < 12 else 0 for n in range(14)]
    images = [image(n, dice[n] > 0, dice[n], case) for n in range(14) for case in "LM"]
    found = {test.attribute: test for test in group_tests([images], attributes, ["density", "view", "birads"])}
    assert list(found) == ["density", "view"]  # birads has one value
    density, view = found["density"], found["view"]
    assert (density.groups, density.worst, density.best) == (2, "C", "B")
    assert (density.worst_value, density.best_value) == pytest.approx((0.4, 0.8))
    assert (density.worst_low, density.worst_high) == pytest.approx((0.4, 0.4))
    assert density.worst_subjects == 6
    assert density.p < 0.01  # 2 of the 924 ways to choose six of twelve subjects
    assert density.p_holm == pytest.approx(2 * density.p)
    assert (view.p, view.p_holm) == (1, 1)
    assert cells_of(density)[:6] == ["density", "2", "C", "40.0 [40.0, 40.0]~", "B", "80.0"]
    lines = shown_tests(list(found.values()))
    assert len(lines) == 4
    assert lines[-1].startswith("Do the groups differ in mean_image_dice?")
    assert shown_tests([]) == []


def test_a_row_of_several_trainings_is_tested_by_their_mean() -> None:
    good = [image(n, True, 8 if n < 6 else 2) for n in range(12)]
    other = [image(n, True, 2 if n < 6 else 8) for n in range(12)]
    (found,) = group_tests([good, other], attributes, ["density"])
    assert (found.worst_value, found.best_value) == pytest.approx((0.5, 0.5))
    assert math.isnan(found.p)  # nothing is left to differ
    (found,) = group_tests([good, good], attributes, ["density"], "lesion_dice")
    assert (found.worst, found.worst_value, found.best_value) == ("C", pytest.approx(0.2), pytest.approx(0.8))
    (found,) = group_tests([good], attributes, ["density"], "lesion_sensitivity_at_1fp")
    assert (found.worst_value, found.best_value) == (1, 1)


def test_tests_without_a_p_are_not_counted() -> None:
    one = GroupTest("view", "dice", 2, "a", 0.1, 0.0, 0.2, 19, "b", 0.5, 0.02)
    two = GroupTest("age", "dice", 1)
    assert corrected([one, two])[0].p_holm == 0.02
    assert two.record()["p"] is None
    assert cells_of(two) == ["age", "1", "", "n/a", "", "n/a", "n/a", "n/a"]


def test_the_interval_of_a_small_group_is_marked() -> None:
    few = GroupTest("view", "dice", 2, "a", 0.1, 0.0, 0.2, 19, "b", 0.5, 0.02)
    assert cells_of(few)[3] == "10.0 [0.0, 20.0]~"
    assert cells_of(replace(few, worst_subjects=20))[3] == "10.0 [0.0, 20.0]"
