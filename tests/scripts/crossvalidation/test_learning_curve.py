"""Score against number of training subjects: nested subsets, the line through the points, the files."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from scripts.comparison.models import Model
from scripts.comparison.store import Result
from scripts.crossvalidation.learning_curve import chart, checked_shares, curve_of, curve_record, sentences
from scripts.crossvalidation.views import nested
from transforms.errors import UserError


def test_a_share_is_part_of_every_larger_one() -> None:
    subjects = [f"s{n}" for n in range(20)]
    parts = [nested(subjects, share, 3) for share in (0.1, 0.25, 0.5, 1.0)]
    assert [len(part) for part in parts] == [2, 5, 10, 20]
    assert all(small < large for small, large in itertools.pairwise(parts))
    assert nested(reversed(subjects), 0.25, 3) == parts[1] != nested(subjects, 0.25, 4)
    with pytest.raises(UserError, match=r"--train_shares 0.05: leaves 1 of 20 subjects to train on; give more"):
        nested(subjects, 0.05, 0)


@pytest.mark.parametrize("text", ["0.5", "0,1", "0.5,2", "half,1", "1,1", "", "nan,1"])
def test_shares_that_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="expected two or more fractions up to 1, such as"):
        checked_shares(text)


def result(found: int, noise: int = 0) -> Result:
    """30 subjects with a tumor of 100 pixels, of which some are found and nothing else."""
    subjects = {}
    for number in range(30):
        right = found + noise * (1 if number % 2 else -1)
        subjects[f"s{number:02d}"] = np.array([[900, 100 - right], [100 - right, right]])
    return Result(
        "unet", "run", ("id",), "validation", ("background", "tumor"), "tiny", "d", subjects, folds=(subjects,),
        model=Model("unet", "U-Net", (0, 0)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("subjects", "metric", "message"),
    [
        ([4, 4], "dice/tumor", "--train_shares: each leaves 4 subjects to train on; give smaller ones as well"),
        ([4, 8], "dice/tumor", "--metric dice/tumor: has no value on these subjects; choose another score"),
    ],
)
def test_curves_that_cannot_be_drawn(subjects: list[float], metric: str, message: str) -> None:
    made = [result(40), result(50)]
    for matrix in (matrix for each in made for matrix in each.subjects.values() if subjects[1] == 8):
        matrix[1], matrix[:, 1] = 0, 0
    with pytest.raises(UserError, match=message):
        curve_of(made, [0.9, 1], subjects, metric)


def test_a_score_is_extrapolated_to_100_per_cent_at_most() -> None:
    curve = curve_of([result(60), result(80), result(98)], [0.25, 0.5, 1], [10, 20, 40], "dice/tumor")
    assert curve.doubling[0] == pytest.approx(0.19)
    assert curve.foretold == (1, 1, 1)


def test_the_line_by_hand() -> None:
    assert checked_shares("1,0.25,0.5") == [0.25, 0.5, 1]
    # Dice 0.40, 0.50, 0.54 at 10, 20, 40 subjects: the line has the slope (0.54 - 0.40) / 2 for each doubling
    curve = curve_of([result(40), result(50), result(54)], [0.25, 0.5, 1], [10, 20, 40], "dice/tumor")
    assert [(p.subjects, p.score) for p in curve.points] == [
        (10, pytest.approx(0.4)), (20, pytest.approx(0.5)), (40, pytest.approx(0.54)),
    ]  # fmt: skip
    assert curve.doubling == pytest.approx((0.07, 0.07, 0.07))
    assert curve.foretold == pytest.approx((0.48 + 2 * 0.07,) * 3)  # the mean is at 20, 80 is two doublings away
    text = "\n".join(sentences(curve))
    assert "    40.0 (100 %)  54.00 [54.00, 54.00]" in text
    assert "Twice as many subjects: +7.00 [+7.00, +7.00]. Extrapolated from 40 to 80 subjects: 62.00 [" in text
    assert chart(curve, "t").axes[0].get_xlabel() == "training subjects"
    assert curve_record(curve)["points"][2]["share"] == 1


def test_what_all_sizes_share_is_no_doubt_about_the_gain() -> None:
    curve = curve_of([result(40, 20), result(50, 20)], [0.5, 1], [20, 40], "dice/tumor")
    assert curve.points[0].high - curve.points[0].low > 0.1
    assert curve.doubling == pytest.approx((0.1, 0.1, 0.1), abs=1e-9)
