"""`--metric`: every score of the tables as sums over subjects, and trainings that differ only in their seed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engines.scoring.boundary_scores import BoundaryResult, ImageBoundaries
from engines.scoring.lesion_files import LesionResult
from engines.scoring.matching import HIT, ImageLesions, Judged, Lesion, Rule
from engines.scoring.metrics import CLASS_METRICS, OVERALL_METRICS, scores
from scripts.comparison.choice import _latest
from scripts.comparison.console_table import console
from scripts.comparison.lesion_table import lesion_rows
from scripts.comparison.metric import default_metric, fold_numbers, verdict_rows
from scripts.comparison.models import Model
from scripts.comparison.statistics import pooled
from scripts.comparison.store import Result
from scripts.comparison.table import compare, markdown, records
from transforms.errors import UserError

CLASSES = ("background", "gland", "tumor")


def result(title: str = "U-Net", right: float = 0.6, seed: int = 0, **about: Any) -> Result:
    rng = np.random.default_rng([seed, int(1000 * right)])
    easy = np.random.default_rng(1).normal(0, 0.1, 24)
    subjects = {}
    for number in range(24):
        good = (np.array([600, 300, 100]) * np.clip(right + easy[number] + rng.normal(0, 0.02), 0, 1)).astype(int)
        matrix = np.diag(good)
        matrix[[0, 1, 2], [1, 2, 0]] += np.array([600, 300, 100]) - good
        subjects[f"s{number:02d}"] = matrix
    about = {"params": {"seed": str(seed), "recipe": "quick"}, "run_ids": (f"{title} {seed} {right}",), **about}
    model = Model(title, title, (0, 0))
    return Result("stage", title, section="validation", classes=CLASSES, dataset="tiny", digest="d", subjects=subjects,
                  folds=(subjects,), model=model, **about)  # fmt: skip


def lesions(dice: float = 0.5) -> LesionResult:
    images = []
    for number in range(24):
        lesion = Lesion(100, 0.01, 12.0, (0, 0, 9, 9), 0.9 if number % 3 else None, dice)
        found = (Judged(0.9, 100, (0, 0, 9, 9), HIT, 0),) if number % 3 else ()
        images.append(ImageLesions(f"s{number:02d}", f"s{number:02d}_L", 100, 80, 10 + number, (lesion,), found))
    return LesionResult(("tumor",), Rule(), tuple(images))


@pytest.mark.parametrize(
    "metric",
    [*OVERALL_METRICS[:4], *(f"{kind}/{name}" for kind in CLASS_METRICS for name in CLASSES)],
)  # fmt: skip
def test_scores_of_the_matrices(metric: str) -> None:
    made = result()
    (row,) = verdict_rows(["U-Net"], [made], metric)
    assert row.values() == pytest.approx([scores(pooled(made.subjects), CLASSES)[metric]])
    each = [scores(made.subjects[name], CLASSES)[metric] for name in sorted(made.subjects)]
    assert row.of_subjects()[0] == pytest.approx(each)


@pytest.mark.parametrize("metric", ["lesion_sensitivity_at_1fp", "mean_image_dice", "lesion_dice"])
def test_scores_of_lesions(metric: str) -> None:
    counted = lesions()
    (row,) = verdict_rows(["U-Net"], [replace(result(), lesions=counted)], metric)
    measures = counted.measures()
    assert row.values() == pytest.approx([measures.get(metric, measures.get(f"{metric}/tumor")).value])


@pytest.mark.parametrize(("metric", "largest"), [("dice/tumor", 1), ("lesion_false_positives_per_image", math.inf)])
def test_largest_value_of_a_score(metric: str, largest: float) -> None:
    (row,) = verdict_rows(["U-Net"], [replace(result(), lesions=lesions())], metric)
    assert row.largest == largest


def test_an_unknown_score_is_refused() -> None:
    with pytest.raises(UserError, match=r"--metric dice/x: unknown, or not available for U-Net; its lesions.*"
                       r"choose from pixel_accuracy, mean_iou.*dice/tumor"):  # fmt: skip
        verdict_rows(["U-Net"], [result()], "dice/x")


def test_the_default_is_the_lesion_s_dice() -> None:
    assert default_metric(CLASSES) == "dice/tumor"
    assert default_metric(("background", "gland")) == "mean_iou"


def test_fold_of_each_subject() -> None:
    made = result()
    names = sorted(made.subjects)
    folds = tuple({name: made.subjects[name] for name in names[start::2]} for start in range(2))
    assert fold_numbers(replace(made, folds=folds)).tolist() == [0, 1] * 12


def test_trainings_that_differ_in_their_seed_alone_are_one_row() -> None:
    trained = [result(seed=seed, started=seed) for seed in (0, 1, 2)]
    again = result(seed=1, right=0.5, started=9)  # the same seed later
    other = result(seed=3, started=4, params={"seed": "3", "recipe": "paper"})
    broken = result(seed=4, started=5, whole=False)
    (row,) = _latest([*trained, again, other, broken])
    assert row is not again
    assert row.params == again.params
    assert row.subjects is again.subjects  # the latest
    assert [each.params["seed"] for each in row.trainings] == ["1", "0", "2"]


def rows(seeds: int = 3) -> list[Result]:
    made = []
    for number, (title, right) in enumerate((("A", 0.5), ("B", 0.6))):
        first, *others = (result(title, right, seed + 10 * number, lesions=lesions(right)) for seed in range(seeds))
        made.append(replace(first, seeds=tuple(others)))
    return made


def test_scores_are_means_over_the_seeds() -> None:
    made = rows()
    table = {row["model"]: row for row in records(compare(made, 200, 0))}
    expected = [scores(pooled(each.subjects), CLASSES) for each in made[0].trainings]
    for name in ("mean_iou", "dice/tumor"):
        assert table["A"][name] == pytest.approx(np.mean([each[name] for each in expected]))
    assert table["A"]["seed_sd"] == pytest.approx(np.std([each["dice/tumor"] for each in expected], ddof=1))
    assert table["A"]["metric_low"] < table["A"]["metric_score"] < table["A"]["metric_high"]
    assert (table["A"]["rank"], table["B"]["rank"]) == (2, 1)
    assert table["A"]["corrected_for_choice"] is None
    assert table["A"]["run_ids"] == "A 0 0.5 A 1 0.5 A 2 0.5"


def test_lesion_scores_of_the_folds_are_means_over_the_seeds() -> None:
    def fold(shared: int) -> LesionResult:
        counted = lesions()
        return replace(counted, images=tuple(replace(image, shared=shared) for image in counted.images))

    shared = ((50, 59), (70, 80), (50, 90))  # of each seed, in both folds
    first, *others = (
        replace(each, lesion_folds=tuple(map(fold, each_fold)))
        for each, each_fold in zip(rows()[0].trainings, shared, strict=True)
    )
    (row,) = lesion_rows(["A"], [replace(first, seeds=tuple(others))], 200, 0)
    means = 2 * np.mean(shared, axis=0) / 180
    assert row.folds["mean_image_dice"] == pytest.approx((np.mean(means), np.std(means, ddof=1)))


def test_the_statement_in_words() -> None:
    text = console(compare(rows(), 200, 0, margin=1))
    assert "Statement on dice/tumor, per cent" in text
    assert "Better: B than A." in text
    assert "p equivalent" in text
    assert "B was chosen as the best of these 2 rows on the subjects that it is scored on" in text
    assert "Means over trainings with different seeds: A 3, B 3" in text
    assert "Statement on mean_iou, per cent:" in markdown(compare(rows(), 200, 0, "mean_iou"))


def test_distances_are_compared_in_the_images_in_which_all_rows_have_one() -> None:
    """B finds all lesions, A only the easy half, a millimeter worse than B in each."""

    def with_distances(made: Result, distances: list[float]) -> Result:
        images = [
            ImageBoundaries(f"s{n:02d}", f"s{n:02d}_L", {"tumor": (0.5, distance, 0.5)})
            for n, distance in enumerate(distances)
        ]
        trainings = [replace(each, boundaries=BoundaryResult(("tumor",), "mm", 1, tuple(images)), seeds=())
                     for each in made.trainings]  # fmt: skip
        return replace(trainings[0], seeds=tuple(trainings[1:]))

    a, b = rows()
    noise = np.random.default_rng(0).uniform(0, 0.1, 24)
    easy = [n % 2 == 0 for n in range(24)]
    of_b = [(2 if easy[n] else 30) + noise[n] for n in range(24)]
    a, b = with_distances(a, [of_b[n] + 1 if easy[n] else math.nan for n in range(24)]), with_distances(b, of_b)
    found = compare([a, b], 200, 0, "hd95_mm/tumor")
    statement = found.verdict.statement
    assert [row.title for row in found.rows] == ["A", "B"]
    assert {place.title: place.rank for place in statement.places} == {"A": 2, "B": 1}
    assert "is about the 12 of 24 images in which all trainings of all rows have a distance" in console(found)
    one, other = verdict_rows(["A", "B"], [a, b], "hd95_mm/tumor")
    assert one.values() - other.values() == pytest.approx([1, 1, 1])
    assert verdict_rows(["B"], [b], "hd95_mm/tumor")[0].values() == pytest.approx([np.mean(of_b)] * 3)  # on its own
    nowhere = with_distances(a, [math.nan] * 24)
    assert "No statement on hd95_mm/tumor" in console(compare([nowhere, b], 200, 0, "hd95_mm/tumor"))


def test_boundaries_of_different_tolerances_have_no_table_but_a_note() -> None:
    images = tuple(ImageBoundaries(f"s{n:02d}", f"s{n:02d}_L", {"tumor": (0.5, 1.0, 0.5)}) for n in range(24))
    made = [
        replace(each, boundaries=BoundaryResult(("tumor",), "mm", tolerance, images), seeds=())
        for each, tolerance in zip(rows(), (1.0, 2.0), strict=True)
    ]
    text = console(compare(made, 200, 0))
    assert "Boundaries of tumor" not in text
    assert "Boundaries were measured with different tolerances and are not compared: 1 mm, 2 mm." in text


def test_with_one_seed_nothing_is_better() -> None:
    text = console(compare(rows(seeds=1), 200, 0))
    assert "Fewer than 3 seeds (A, B): statements on these rows apply to these trained models" in text
    assert "undecided" in text


def test_a_score_that_a_row_lacks_gives_no_statement() -> None:
    made = rows()
    for each in made:
        for training in each.trainings:
            for matrix in training.subjects.values():
                matrix[2], matrix[:, 2] = 0, 0
    text = console(compare(made, 200, 0))
    assert "No statement on dice/tumor: a row does not have this score." in text
