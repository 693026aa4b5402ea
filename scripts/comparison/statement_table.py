"""Statement of a comparison as tables, sentences and records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engines.scoring.intervals import few_subjects, sign
from scripts.comparison.metric import default_metric, fold_numbers, lower_is_better, verdict_rows
from scripts.comparison.store import Result
from scripts.verdict.spread import MIN_SEEDS
from scripts.verdict.statement import BETTER, Pair, Place, Statement, state

TEST_PARTS = ("value", "low", "high")


@dataclass(frozen=True)
class TestScore:
    """Score of a row on the test section.

    Attributes:
        low, high: 95 % interval over subjects, and over seeds if there are enough of them.
        scored: number of trainings scored on the section so far; a section used to choose between many is not
            untouched.
        trainings: number of trainings of this row.
    """

    __test__ = False  # not a test for pytest

    title: str
    value: float
    low: float
    high: float
    subjects: int
    scored: int
    trainings: int = 1


@dataclass(frozen=True)
class Verdict:
    """Statement with the name of its score, and the best row's score on the test section, if available."""

    metric: str
    statement: Statement
    test: TestScore | None = None

    @property
    def factor(self) -> float:
        """Factor on scores in the tables."""
        return 1.0 if lower_is_better(self.metric) else 100.0


def verdict(
    titles: Sequence[str],
    results: Sequence[Result],
    draws: int,
    seed: int,
    metric: str | None = None,
    margin: float | None = None,
) -> Verdict | None:
    """Return the statement on the rows; None with fewer than two rows or subjects, or if a row lacks the score.

    Args:
        metric: see `scripts.comparison.metric`; None for the Dice of a lesion, else mean IoU.
        margin: largest difference between equivalent rows, in the unit of the tables (percentage points).

    Raises:
        UserError: the score is unknown.
    """
    metric = metric or default_metric(results[0].classes)
    rows, lower = verdict_rows(titles, results, metric), lower_is_better(metric)
    fraction = None if margin is None else margin / (1 if lower else 100)
    found = state(rows, fold_numbers(results[0]), draws, seed, fraction, lower)
    return None if found is None else Verdict(metric, found)


def heading(verdict: Verdict) -> str:
    """Return the heading of the tables."""
    unit = "" if verdict.factor == 1 else ", per cent"
    return f"Statement on {verdict.metric}{unit}"


def place_table(verdict: Verdict) -> list[list[str]]:
    """Return a table with a line per row: score, seeds, ranks."""
    head = ["Model", "Seeds", verdict.metric, "SD of seeds", "Rank", "First", "Rank by subject"]
    return [head, *([place.title, *_place(place, verdict)] for place in verdict.statement.places)]


def _place(place: Place, verdict: Verdict) -> list[str]:
    def number(value: float) -> str:
        return _number(value * verdict.factor)

    mark = " *" if place.title == verdict.statement.best else ""
    return [
        str(place.seeds),
        f"{number(place.score)}{mark} [{number(place.low)}, {number(place.high)}]{sign(verdict.statement.subjects)}",
        number(place.seed_sd),
        _rank(place.rank, place.rank_low, place.rank_high),
        f"{100 * place.first:.0f} %",
        _rank(place.subject_rank, place.subject_rank_low, place.subject_rank_high),
    ]


def pair_table(verdict: Verdict) -> list[list[str]]:
    """Return a table with a line per pair: difference, tests, conclusion."""
    equivalence = verdict.statement.margin is not None
    head = ["First", "Second", "Difference", "p", *(["p equivalent"] if equivalence else []), "P(false)", "First is"]
    return [head, *([pair.first, pair.second, *_pair(pair, verdict)] for pair in verdict.statement.pairs)]


def _pair(pair: Pair, verdict: Verdict) -> list[str]:
    difference, low, high = (_signed(x * verdict.factor) for x in (pair.difference, pair.low, pair.high))
    return [
        f"{difference} [{low}, {high}]{sign(verdict.statement.subjects)}",
        p_number(pair.p),
        *([] if pair.equivalence_p is None else [p_number(pair.equivalence_p)]),
        p_number(pair.false_claim),
        pair.word,
    ]


def sentences(verdict: Verdict) -> list[str]:
    """Return sentences on the meaning of the tables and its limits."""
    statement, factor = verdict.statement, verdict.factor
    within = f", drawn within {statement.folds} folds" if statement.folds > 1 else ""
    words = [
        "Score: mean over the seeds. [95 % interval over subjects" + within + " and seeds]; p: exchange of two rows' "
        "results by subject, including the variation over seeds, Holm-corrected over all pairs; P(false): fraction "
        "of the draws in which the first is not better; rank by score and by the mean rank over subjects.",
        _claim(verdict),
    ]
    best = next(place for place in statement.places if place.title == statement.best)
    corrected = "n/a" if math.isnan(statement.corrected) else _number(statement.corrected * factor)
    words.append(
        f"{best.title} was chosen as the best of these {len(statement.places)} rows on the subjects that it is scored "
        f"on, which favors it: {_number(best.score * factor)}, corrected for the choice {corrected}; P(not the first "
        f"of all) {p_number(statement.false_best)}."
    )
    if not math.isnan(statement.tau):
        words.append(f"Ranks by score and by subject agree with a Kendall's tau of {statement.tau:.2f}.")
    if verdict.test is not None:
        words.append(_tested(verdict.test, factor))
    few = few_subjects(statement.subjects)
    return words if few is None else [*words, few]


def _tested(test: TestScore, factor: float) -> str:
    """Return a sentence on the score that is independent of the choice."""
    low, high = _number(test.low * factor), _number(test.high * factor)
    only = "only this" if test.scored <= test.trainings else f"{test.scored} trainings, which favors the best of them"
    return (
        f"{test.title} on the test section, independent of this choice: {_number(test.value * factor)} [{low}, {high}]"
        f"{sign(test.subjects)} ({test.subjects} subjects; scored there: {only})."
    )


def _claim(verdict: Verdict) -> str:
    statement = verdict.statement
    if not statement.seeds_count:
        few = ", ".join(place.title for place in statement.places if place.seeds < MIN_SEEDS)
        return (
            f"Fewer than {MIN_SEEDS} seeds ({few}): statements on these rows apply to these trained models, not to "
            "their networks, and are never better or equivalent."
        )
    better = [f"{pair.first} than {pair.second}" for pair in statement.pairs if pair.word == BETTER]
    return f"Better: {'; '.join(better)}." if better else "No row was found to be better than another."


def records(verdict: Verdict) -> list[dict[str, Any]]:
    """Return a dictionary per pair, with scores as fractions."""
    return [
        {
            "metric": verdict.metric,
            "first": pair.first,
            "second": pair.second,
            "difference": pair.difference,
            "difference_low": pair.low,
            "difference_high": pair.high,
            "p": pair.p,
            "p_false_claim": pair.false_claim,
            "p_equivalent": pair.equivalence_p,
            "margin": verdict.statement.margin,
            "word": pair.word,
        }
        for pair in verdict.statement.pairs
    ]


def place_record(verdict: Verdict, title: str) -> dict[str, Any]:
    """Return the columns of one row."""
    place = next(place for place in verdict.statement.places if place.title == title)
    best = title == verdict.statement.best
    return {
        "metric": verdict.metric,
        "metric_score": place.score,
        "metric_low": place.low,
        "metric_high": place.high,
        "seeds": place.seeds,
        "seed_sd": place.seed_sd,
        "rank": place.rank,
        "rank_low": place.rank_low,
        "rank_high": place.rank_high,
        "p_first": place.first,
        "rank_by_subject": place.subject_rank,
        "corrected_for_choice": verdict.statement.corrected if best else math.nan,
        **{f"test_{part}": getattr(verdict.test, part) if best and verdict.test else math.nan for part in TEST_PARTS},
    }


def p_number(p: float) -> str:
    """Format p with three digits."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def _signed(value: float) -> str:
    return f"{value:+.2f}"


def _rank(rank: float, low: float, high: float) -> str:
    if math.isnan(rank):
        return "n/a"
    return f"{rank:.0f}" if math.isnan(low) else f"{rank:.0f} [{low:.0f}, {high:.0f}]"
