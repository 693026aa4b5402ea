"""Statement of a comparison on constructed results, and its simulation at small size."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from scripts import benchmark
from scripts.comparison.store import Result
from scripts.verdict.pairs import equivalence_p, exchange_p, exchanged, signs_of
from scripts.verdict.ranks import bounds, ranks
from scripts.verdict.resampled_seeds import halves, old_method, single_pairs, subject_bootstrap
from scripts.verdict.row import Row, mean_ratio
from scripts.verdict.simulated import MEAN, World, shift_for, true_score
from scripts.verdict.simulated_groups import CASES
from scripts.verdict.spread import score_interval, seed_spread, subject_draws, usable_folds, variance_over_subjects
from scripts.verdict.statement import BETTER, EQUIVALENT, UNDECIDED, state
from scripts.verdict.winner import corrected_best, seed_draws

ONE_FOLD = np.zeros(40, np.int64)


def mean_row(title: str, scores: list[list[float]] | np.ndarray) -> Row:
    """A row whose score is the mean of its subjects': (seeds, subjects)."""
    numerator = np.asarray(scores, np.float64)[..., None]
    return Row(title, numerator, np.ones_like(numerator))


def noisy(title: str, right: float, seeds: int = 3, seed: int = 0, sd: float = 0.01) -> Row:
    """40 subjects, easy and difficult ones, with a little noise."""
    rng = np.random.default_rng([seed, int(1e4 * right)])
    easy = np.random.default_rng(7).normal(0, 0.2, 40)
    return mean_row(title, right + easy + rng.normal(0, sd, (seeds, 40)))


# -- rows --------------------------------------------------------------------------------------------------------------


def test_a_score_is_the_mean_over_parts_of_ratios_of_sums() -> None:
    numerator = np.array([[[1.0, 0.0], [3.0, 2.0]]])
    denominator = np.array([[[2.0, 0.0], [6.0, 4.0]]])
    row = Row("a", numerator, denominator)
    assert row.values() == pytest.approx([(4 / 8 + 2 / 4) / 2])
    assert row.of_subjects() == pytest.approx(np.array([[0.5, 0.5]]))  # the first has no second part
    assert row.drawn(np.array([[2.0, 0.0], [0.0, 3.0]])) == pytest.approx(np.array([[0.5, 0.5]]))
    assert np.isnan(mean_ratio(np.zeros((1, 2)), np.zeros((1, 2)))).all()


def test_the_influence_of_a_subject_is_the_change_of_the_score() -> None:
    rng = np.random.default_rng(0)
    denominator = rng.uniform(1, 5, (2, 6, 3))
    row = Row("a", denominator * rng.uniform(0, 1, (2, 6, 3)), denominator)
    step = 1e-6
    for subject in range(6):
        times = np.ones((1, 6))
        times[0, subject] += step
        change = (row.drawn(times)[:, 0] - row.values()) / step
        assert row.influence()[:, subject] == pytest.approx(change, abs=1e-5)


@pytest.mark.parametrize(("scores", "largest"), [([0.9, 1, 1, 1, 1, 1], 1), ([0, 0.1, 0, 0, 0, 0], np.inf)])
def test_intervals_stay_in_the_range_of_the_score(scores: list[float], largest: float) -> None:
    row = replace(mean_row("a", [scores]), largest=largest)
    statement = state([row, replace(row, title="b")], np.zeros(6, np.int64), 500, 0)
    assert statement is not None
    for low, high in ((place.low, place.high) for place in statement.places):
        assert 0 <= low < high <= largest
    value, low, high = score_interval(row, 500, 0)
    assert 0 <= low < value < high <= largest


# -- subjects and seeds ------------------------------------------------------------------------------------------------


def test_draws_keep_the_size_of_every_fold() -> None:
    folds = np.array([0, 1, 1, 0, 1])
    times = subject_draws(folds, 50, np.random.default_rng(0))
    assert (times[:, folds == 0].sum(axis=1) == 2).all()
    assert (times[:, folds == 1].sum(axis=1) == 3).all()


def test_a_fold_of_one_subject_makes_one_fold_of_all() -> None:
    assert usable_folds(np.array([4, 4, 9])).tolist() == [0, 0, 0]
    assert usable_folds(np.array([4, 4, 9, 9])).tolist() == [0, 0, 1, 1]


def test_variance_over_subjects() -> None:
    influence = np.array([1.0, 3.0, 10.0, 14.0]) / 4
    assert variance_over_subjects(influence, np.zeros(4, int)) == pytest.approx(influence.var(ddof=1) * 4)
    assert variance_over_subjects(influence, np.array([0, 0, 1, 1])) == pytest.approx(2 * (2 + 8) / 16)


def test_seeds_vary_at_least_as_the_rows_do_on_average() -> None:
    base = np.linspace(0.2, 0.8, 40)
    moving = mean_row("moving", [base, base + 0.1, base + 0.2])  # variance 0.01
    still = mean_row("still", [base, base, base])
    spread = seed_spread([moving, still], ONE_FOLD)
    assert spread.scale == pytest.approx([np.sqrt(0.01 / 3), np.sqrt(0.005 / 3)])
    assert spread.freedom == 4


def test_what_the_subjects_account_for_is_not_counted_twice() -> None:
    up = np.where(np.arange(40) % 2 == 0, 0.1, -0.1)
    rows = [mean_row(name, [0.5 + up, 0.5 - up, 0.5 + 0 * up]) for name in "ab"]  # equal means, other subjects
    assert seed_spread(rows, ONE_FOLD).scale.tolist() == [0, 0]


def test_fewer_than_three_seeds_say_nothing_about_others() -> None:
    rows = [noisy("a", 0.5, seeds=2, sd=0.3), noisy("b", 0.6, seeds=3, sd=0.3)]
    assert seed_spread(rows, ONE_FOLD).scale[0] == 0


# -- pairs -------------------------------------------------------------------------------------------------------------

ALL_SIGNS = np.array([[a, b, c] for a in (1, -1) for b in (1, -1) for c in (1, -1)], float)


def test_exchanging_all_subjects_counts_the_extreme_ones() -> None:
    p = exchange_p(np.array([[1.0, 2.0, 3.0], [1.0, -1.0, 0.0]]), ALL_SIGNS, np.zeros(2), 1)
    assert p == pytest.approx([(1 + 2) / (1 + 8), 1.0])


def test_the_seeds_share_is_student_s_t() -> None:
    found, scale, freedom = 6.0, 1.5, 4
    sums = ALL_SIGNS @ [1.0, 2.0, 3.0]
    t = stats.t(freedom)
    expected = np.mean([t.sf((found - s) / scale) + t.cdf((-found - s) / scale) for s in sums])
    assert exchange_p(np.array([[1.0, 2.0, 3.0]]), ALL_SIGNS, np.array([scale]), freedom) == pytest.approx([expected])


def test_what_is_exchanged_adds_up_to_the_difference_and_changes_its_sign() -> None:
    rows = [noisy("a", 0.5), noisy("b", 0.6, seeds=5)]
    both = exchanged(rows, [(0, 1), (1, 0)])
    assert both[0].sum() == pytest.approx(rows[0].values().mean() - rows[1].values().mean())
    assert both[1] == pytest.approx(-both[0])


def test_exchange_is_exact_for_a_ratio_of_sums() -> None:
    rng = np.random.default_rng(2)
    sizes = np.exp(rng.normal(0, 1, (2, 1, 12, 1)))
    rows = [Row("a", sizes[n] * rng.uniform(0, 1, (1, 12, 1)), sizes[n]) for n in range(2)]
    swap = np.arange(12) % 3 == 0
    parts = [[np.where(swap[:, None], getattr(rows[1 - n], key), getattr(rows[n], key)) for key in ("numerator",
             "denominator")] for n in range(2)]  # fmt: skip
    after = exchanged([Row("a", *parts[0]), Row("b", *parts[1])], [(0, 1)])
    assert after[0] == pytest.approx(np.where(swap, -1, 1) * exchanged(rows, [(0, 1)])[0])


def test_equivalence_takes_the_worse_side() -> None:
    draws = np.array([-0.03, 0.0, 0.01, 0.02])
    assert equivalence_p(draws, 0.0, 1, 0.025) == pytest.approx((1 + 1) / 5)
    t = stats.t(4)
    expected = max(np.mean(t.cdf((draws - 0.025) / 0.01)), np.mean(t.cdf((-0.025 - draws) / 0.01)))
    assert equivalence_p(draws, 0.01, 4, 0.025) == pytest.approx(expected)


# -- ranks and the best row --------------------------------------------------------------------------------------------


def test_ranks_of_scores_and_of_subjects_can_disagree() -> None:
    often = mean_row("often", [[0.6, 0.6, 0.6, 0.0]])  # better in three subjects, with the lower mean
    once = mean_row("once", [[0.5, 0.5, 0.5, 1.0]])
    times = np.ones((3, 4))
    found = ranks([often, once], np.array([[0.45, 0.45], [0.6, 0.4]]), times, 1, np.random.default_rng(0))
    assert found.of_scores.tolist() == [2, 1]
    assert found.of_subjects.tolist() == [1, 2]
    assert found.tau == pytest.approx(-1)
    assert found.of_scores_drawn.tolist() == [[2, 1], [1, 2]]
    assert bounds(found.of_subjects_drawn).tolist() == [[1, 2], [1, 2]]


def test_seeds_are_drawn_so_that_one_is_left_out() -> None:
    counts = seed_draws(3, 200, np.random.default_rng(0))
    assert (counts.sum(axis=1) == 3).all()
    assert (counts == 0).any(axis=1).all()
    assert seed_draws(1, 2, np.random.default_rng(0)).tolist() == [[1], [1]]


def test_the_best_of_equal_rows_loses_what_it_was_chosen_for() -> None:
    rng = np.random.default_rng(4)
    rows = [mean_row(str(n), rng.normal(0.5, 0.2, (3, 30))) for n in range(8)]
    best = max(row.values().mean() for row in rows)
    corrected = corrected_best(rows, subject_draws(np.zeros(30, int), 500, rng), 1, rng)
    middle = np.mean([row.values().mean() for row in rows])
    assert abs(corrected - middle) < (best - middle) / 2


def test_a_row_that_is_always_the_best_loses_nothing() -> None:
    rows = [noisy("a", 0.5), noisy("b", 0.8)]
    rng = np.random.default_rng(0)
    corrected = corrected_best(rows, subject_draws(ONE_FOLD, 500, rng), 1, rng)
    assert corrected == pytest.approx(rows[1].values().mean(), abs=0.002)


# -- the statement -----------------------------------------------------------------------------------------------------


def test_better_needs_three_seeds() -> None:
    for seeds, word in ((3, BETTER), (2, UNDECIDED)):
        found = state([noisy("a", 0.5, seeds), noisy("b", 0.6, seeds)], ONE_FOLD, 500, 0)
        assert found is not None
        (pair,) = found.pairs
        assert (pair.first, pair.second, pair.word) == ("b", "a", word)
        assert pair.low < pair.difference < pair.high
        assert pair.p < 0.01
        assert pair.false_claim == 0
        assert found.best == "b"
        assert found.seeds_count == (seeds == 3)


def test_equivalent_needs_a_margin() -> None:
    rows = [noisy("a", 0.5), noisy("b", 0.5, seed=1)]
    words = [state(rows, ONE_FOLD, 500, 0, margin).pairs[0].word for margin in (None, 1e-6, 0.05)]
    assert words == [UNDECIDED, UNDECIDED, EQUIVALENT]


def test_low_scores_can_be_the_good_ones() -> None:
    found = state([noisy("a", 0.5), noisy("b", 0.6)], ONE_FOLD, 500, 0, lower_is_better=True)
    assert found is not None
    assert found.best == "a"
    assert [(place.title, place.rank, place.first) for place in found.places] == [("a", 1, 1.0), ("b", 2, 0.0)]
    assert found.pairs[0].first == "a"
    assert found.pairs[0].difference < 0
    assert found.pairs[0].word == BETTER


def test_equal_rows_and_rows_without_a_score() -> None:
    row = noisy("a", 0.5)
    same = state([row, Row("b", row.numerator, row.denominator)], ONE_FOLD, 200, 0)
    assert same is not None
    assert (same.pairs[0].difference, same.pairs[0].word) == (0, UNDECIDED)
    assert same.pairs[0].p == pytest.approx(1)
    nothing = Row("c", 0 * row.numerator, 0 * row.denominator)
    assert state([row, nothing], ONE_FOLD, 200, 0) is None
    assert state([row], ONE_FOLD, 200, 0) is None


def test_the_same_draws_give_the_same_statement() -> None:
    rows = [noisy("a", 0.5, sd=0.1), noisy("b", 0.52, sd=0.1), noisy("c", 0.54, sd=0.1)]
    folds = np.arange(40) % 5
    assert state(rows, folds, 300, 1, 0.05) == state(rows, folds, 300, 1, 0.05)
    assert state(rows, folds, 300, 1) != state(rows, folds, 300, 2)


# -- the simulation ----------------------------------------------------------------------------------------------------


def test_the_simulated_difference_is_the_true_one() -> None:
    world = World()
    assert true_score(world, MEAN) == pytest.approx(0.5, abs=0.002)
    shift = shift_for(world, 0.05)
    assert true_score(world, MEAN, shift) - true_score(world, MEAN) == pytest.approx(0.05, abs=1e-4)
    assert shift > 0.05  # scores are cut at 0 and 1


def test_benchmark_of_the_errors(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["verdict", "--experiments", "10", "--subjects", "12", "--seeds", "3", "--rows", "3", "--json"]
    assert benchmark.main([*words, "--part", "errors"]) == 0
    (lines,) = json.loads(capsys.readouterr().out).values()
    assert [(line["score"], line["seeds alike"]) for line in lines] == [
        ("mean Dice", "yes"), ("mean Dice", "no"), ("pooled Dice", "yes"), ("pooled Dice", "no")
    ]  # fmt: skip
    assert all(0 <= line["any better, low"] <= line["any better"] <= line["any better, high"] <= 100 for line in lines)


def test_benchmark_of_the_groups(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["verdict", "--experiments", "10", "--subjects", "20", "--json", "--part", "groups"]
    assert benchmark.main(words) == 0
    (lines,) = json.loads(capsys.readouterr().out).values()
    assert [line["score"] for line in lines] == [case.name for case in CASES]
    assert all(0 <= line[f"{points} points"] <= 100 for line in lines for points in (0, 10, 20))


def test_halves_share_no_seed_and_pairs_are_all_pairs() -> None:
    row = mean_row("a", np.arange(6.0)[:, None] + np.zeros((6, 4)))
    for first, second in halves(row, 20, np.random.default_rng(0)):
        assert sorted([*first.values(), *second.values()]) == [0, 1, 2, 3, 4, 5]
    pairs = [(first.values()[0], second.values()[0]) for first, second in single_pairs(row)]
    assert pairs == [(a, b) for a in range(6) for b in range(a + 1, 6)]


def test_old_methods_call_two_lucky_trainings_better() -> None:
    rng = np.random.default_rng(0)
    alike = [mean_row("a", rng.normal(0.5, 0.1, (1, 40))) for _ in range(2)]
    apart = [alike[0], mean_row("b", alike[0].numerator[..., 0] + rng.normal(0.05, 0.05, (1, 40)))]
    times = subject_draws(ONE_FOLD, 500, rng)
    assert (old_method(alike), subject_bootstrap(alike, times)) == (False, False)
    assert (old_method(apart), subject_bootstrap(apart, times)) == (True, True)
    assert not old_method([alike[0], alike[0]])


def test_benchmark_of_real_seeds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from scripts.comparison import choice, store
    from scripts.comparison.models import Model

    def result(seed: int, others: tuple[Result, ...] = ()) -> Result:
        found = np.random.default_rng(seed).integers(40, 60, 20)
        subjects = {f"s{n:02d}": np.array([[100, 0], [100 - found[n], found[n]]]) for n in range(20)}
        return Result("fcn32", "a", ("a",), "validation", ("background", "tumor"), "tiny", "d", subjects,
                      folds=(subjects,), model=Model("fcn", "FCN32", (0, 0)), seeds=others)  # fmt: skip

    monkeypatch.setattr(store, "Store", lambda uri, name: None)
    rows = [result(0, tuple(result(seed) for seed in range(1, 10))), result(20)]
    monkeypatch.setattr(choice, "chosen", lambda store, filters: rows)
    words = ["verdict", "--part", "seeds", "--experiment_name", "e", "--splits", "10", "--json"]
    assert benchmark.main(words) == 0
    (line,) = json.loads(capsys.readouterr().out)["seeds"]
    assert (line["row"], line["score"], line["subjects"], line["seeds"]) == ("FCN32", "dice/tumor", 20, 10)
    assert line["one against one: Wilcoxon, low"] <= line["one against one: Wilcoxon"]
    rows[:1] = []
    assert benchmark.main(words) == 2
    assert "no row has six or more seeds" in capsys.readouterr().err


def test_benchmark_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["verdict", "--part", "luck"]) == 2
    assert "--part luck: unknown; choose from errors, power, coverage" in capsys.readouterr().err
    assert benchmark.main(["verdict", "--part", "seeds"]) == 2
    assert "--part seeds: requires --experiment_name NAME" in capsys.readouterr().err
    assert benchmark.main(["verdict", "--seeds", "2"]) == 2
    assert "--seeds 2: expected 3 or more" in capsys.readouterr().err


def test_signs_are_one_and_minus_one() -> None:
    assert set(np.unique(signs_of(5, 20, np.random.default_rng(0)))) == {-1, 1}
