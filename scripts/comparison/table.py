"""Comparison on one data set as rows of numbers, and as text: Markdown, CSV, JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from engines.records.score_table import MEAN_TITLES, TITLES
from engines.scoring.intervals import sign
from engines.scoring.metrics import PAPER_METRICS, scores, trivial_row, trivial_scores
from scripts.comparison.boundary_table import (
    BoundaryRow,
    boundary_heading,
    boundary_notes,
    boundary_record,
    boundary_rows,
    boundary_table,
)
from scripts.comparison.caveats import given, notes
from scripts.comparison.distances import distance_notes
from scripts.comparison.lesion_table import LesionRow, lesion_notes, lesion_record, lesion_rows, lesion_table
from scripts.comparison.metric import default_metric
from scripts.comparison.statement_table import (
    Verdict,
    heading,
    pair_table,
    place_record,
    place_table,
    sentences,
    verdict,
)
from scripts.comparison.statistics import INTERVALS, mean_intervals, mean_scores, p_values, pooled, subject_mean_iou
from scripts.comparison.store import Result
from transforms.plain_text import one_line

OPTIONS = ("recipe", "image_height", "width", "learning_rate", "max_epochs", "batch_size", "crop_size", "seed")
PAIRS = "Every two rows, the better first"
LESION_HEADING = "Lesions, per cent"
CLASS_SCORES = {"iou": "IoU", "dice": "Dice"}
"""Scores with a table by class → names."""


@dataclass(frozen=True)
class Row:
    """Scores of a model (pooled over subjects), their intervals, and p-value of the test against the best row.

    For a cross-validation, `folds` holds mean and standard deviation of each score over the folds.
    """

    title: str
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    p: float | None = None
    folds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    result: Result | None = None


@dataclass(frozen=True)
class Extra:
    """Requested table: heading, lines (the first names the columns), and notes below it."""

    heading: str
    lines: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Rows of one data set. `best` maps each of the paper's scores to the titles of the rows with the highest."""

    dataset: str
    section: str
    digest: str
    subjects: int
    classes: tuple[str, ...]
    trivial: Row
    rows: tuple[Row, ...]
    best: Mapping[str, tuple[str, ...]]
    reference: str
    notes: tuple[str, ...]
    lesions: tuple[LesionRow, ...] = ()
    extra: tuple[Extra, ...] = ()
    verdict: Verdict | None = None
    boundaries: tuple[BoundaryRow, ...] = ()

    @property
    def heading(self) -> str:
        """Heading of the table."""
        return f"{self.dataset}: {self.subjects} {self.section} subjects"


def compare(
    results: Sequence[Result], draws: int, seed: int, metric: str | None = None, margin: float | None = None
) -> Comparison:
    """Compute rows, intervals, tests and the statement for results that are `comparable`.

    Args:
        metric, margin: arguments of the statement, see `scripts.comparison.statement_table.verdict`.

    Raises:
        UserError: the metric is unknown.
    """
    first = results[0]
    names = list(first.classes)
    matrices = [[each.subjects for each in result.trainings] for result in results]
    values = [mean_scores([scores(pooled(each), names) for each in trainings]) for trainings in matrices]
    ious = [-math.inf if math.isnan(v["mean_iou"]) else v["mean_iou"] for v in values]
    best = int(np.argmax(ious))
    p = p_values([np.mean([subject_mean_iou(each) for each in trainings], axis=0) for trainings in matrices], best)
    titles = _titles(results)
    rows = tuple(
        Row(titles[i], values[i], mean_intervals(matrices[i], draws, seed), p[i], _folds(results[i]), results[i])
        for i in range(len(results))
    )
    trivial = Row(trivial_row(names), trivial_scores(dict(first.subjects), names), {})
    top = {name: tuple(_best(rows, name)) for name in PAPER_METRICS}
    lesions = lesion_rows(titles, results, draws, seed)
    made = verdict(titles, results, draws, seed, metric, margin)
    all_notes = [
        *notes(results, [row.scores for row in rows], titles),
        *lesion_notes(results, lesions),
        *boundary_notes(results),
    ]
    if made is not None:
        all_notes += distance_notes(results, made.metric)
    if made is None and len(rows) > 1 and len(first.subjects) > 1:
        all_notes.append(f"No statement on {metric or default_metric(names)}: a row does not have this score.")
    return Comparison(
        first.dataset, first.section, first.digest, len(first.subjects), first.classes, trivial, rows, top,
        titles[best], tuple(all_notes), lesions, verdict=made, boundaries=boundary_rows(titles, results, draws, seed),
    )  # fmt: skip


def _titles(results: Sequence[Result]) -> list[str]:
    """Return the titles of the rows; those of a repeated model include its run."""
    plain = [result.model.title for result in results]
    homes = {result.trained_on for result in results if result.trained_on}
    if len(homes) > 1:
        plain = [f"{t}, trained on {r.trained_on}" if r.trained_on else t for t, r in zip(plain, results, strict=True)]
    return [t if plain.count(t) == 1 else f"{t}, {r.name}" for t, r in zip(plain, results, strict=True)]


def _folds(result: Result) -> dict[str, tuple[float, float]]:
    if len(result.folds) < 2:
        return {}
    each = [mean_scores([scores(pooled(fold)) for fold in same]) for same in _folds_of_seeds(result)]
    values = {name: np.array([s[name] for s in each]) for name in INTERVALS}
    return {name: (float(v.mean()), float(v.std(ddof=1))) for name, v in values.items()}


def _folds_of_seeds(result: Result) -> Iterable[Sequence[Mapping[str, Any]]]:
    """Yield the subjects of each fold, for every training."""
    return zip(*(training.folds for training in result.trainings), strict=True)


def _best(rows: Sequence[Row], name: str) -> list[str]:
    known = [row.scores[name] for row in rows if not math.isnan(row.scores[name])]
    return [row.title for row in rows if known and row.scores[name] == max(known)]


def percent(value: float) -> str:
    """Format in per cent with two digits, or n/a."""
    return "n/a" if math.isnan(value) else f"{100 * value:.2f}"


def interval(bounds: tuple[float, float] | None, subjects: int) -> str:
    """Format an interval, "[61.02, 70.11]", with a sign if the subjects are few; may be empty."""
    if bounds is None or math.isnan(bounds[0]):
        return ""
    return f"[{percent(bounds[0])}, {percent(bounds[1])}]{sign(subjects)}"


def p_text(row: Row, comparison: Comparison) -> str:
    """Return "best", the p-value, or an empty text."""
    if row.title == comparison.reference:
        return "best"
    if row.p is None or comparison.subjects < 2:
        return ""
    return "< 0.001" if row.p < 0.001 else f"{row.p:.3f}"


def cells(row: Row, comparison: Comparison, mark: Any = "{} *".format) -> list[str]:
    """Return the three scores of a row with intervals, marking the best of a column."""
    out = []
    for name in PAPER_METRICS:
        text = percent(row.scores[name])
        text = mark(text) if row.title in comparison.best[name] else text
        out.append(" ".join(filter(None, (text, interval(row.intervals.get(name), comparison.subjects)))))
    return out


def footnotes(comparison: Comparison, best: str = "*") -> list[str]:
    """Return the meaning of the signs in the table, `best` being that of the highest in a column, and the notes."""
    signs = [
        f"{best}: best of the column; [95 % interval over subjects]; p: Wilcoxon's signed-rank test of the subjects' "
        f"mean IoU against {comparison.reference}, Holm-corrected."
    ]
    return [*signs, *comparison.notes]


def folds_heading(comparison: Comparison) -> str:
    """Return the heading of the table of folds."""
    numbers = sorted({len(row.result.folds) for row in comparison.rows if row.folds and row.result is not None})
    return f"Mean ± standard deviation over {' or '.join(map(str, numbers))} folds, per cent"


def fold_table(comparison: Comparison) -> list[list[str]]:
    """Return the table: names of the scores, then mean and standard deviation over the folds; empty without folds."""
    rows = [
        [row.title, *(f"{percent(mean)} ± {percent(deviation)}" for mean, deviation in row.folds.values())]
        for row in comparison.rows
        if row.folds
    ]
    return [["Model", *MEAN_TITLES.values()], *rows] if rows else []


def markdown(comparison: Comparison) -> str:
    """Return all tables as Markdown."""
    head = ["Model", *TITLES.values(), "p"]
    lines = [f"## {_markdown(comparison.heading)}", "", "Per cent.", "", *_markdown_rows([head])]
    body = [[comparison.trivial.title, *cells(comparison.trivial, comparison), ""]]
    body += [[row.title, *cells(row, comparison, "**{}**".format), p_text(row, comparison)] for row in comparison.rows]
    lines += ["|" + "---|" * len(head), *_markdown_rows(body), ""]
    lines += [_markdown(line) + "  " for line in footnotes(comparison, "**Bold**")]
    for title, table, below in more_tables(comparison):
        if table:
            lines += ["", f"{_markdown(title)}:", "", *_markdown_rows(table[:1]), "|" + "---|" * len(table[0])]
            lines += [*_markdown_rows(table[1:]), *(["", *(_markdown(note) + "  " for note in below)] if below else [])]
    return "\n".join([*lines, ""])


def more_tables(comparison: Comparison) -> list[tuple[str, list[list[str]], list[str]]]:
    """Return heading, lines and notes of the tables below the first; those without lines are not shown."""
    made = comparison.verdict
    tables = (
        [] if made is None else [(heading(made), place_table(made), []), (PAIRS, pair_table(made), sentences(made))]
    )
    return [
        *tables,
        (folds_heading(comparison), fold_table(comparison), []),
        (LESION_HEADING, lesion_table(comparison.lesions), []),
        (boundary_heading(comparison.boundaries), boundary_table(comparison.boundaries), []),
        *((extra.heading, [list(line) for line in extra.lines], list(extra.notes)) for extra in comparison.extra),
        *((class_heading(kind), class_table(comparison, kind), []) for kind in CLASS_SCORES),
    ]


def class_heading(kind: str) -> str:
    """Return the heading of a table by class."""
    return f"{CLASS_SCORES[kind]} of each class, per cent"


def class_table(comparison: Comparison, kind: str) -> list[list[str]]:
    """Return the table: names of the classes, then title, score per class, and mean with its interval per row."""
    table = [["Model", *comparison.classes, "mean"]]
    for row in comparison.rows:
        bounds = interval(row.intervals.get(f"mean_{kind}"), comparison.subjects)
        mean = " ".join(filter(None, (percent(row.scores[f"mean_{kind}"]), bounds)))
        table.append([row.title, *(percent(row.scores[f"{kind}/{c}"]) for c in comparison.classes), mean])
    return table


def table_markdown(table: Sequence[Sequence[str]]) -> str:
    """Return a table with its head as Markdown, with HTML escaped."""
    return "\n".join([*_markdown_rows(table[:1]), "|" + "---|" * len(table[0]), *_markdown_rows(table[1:])])


def _markdown_rows(rows: Iterable[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(_markdown(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]


def _markdown(text: str) -> str:
    """Escape HTML and line breaks."""
    return escape(one_line(text), quote=False)


def records(comparison: Comparison) -> list[dict[str, Any]]:
    """Return one flat dictionary per row, for CSV and JSON, with scores as fractions; None for missing values."""
    out = []
    lesions = {row.title: row for row in comparison.lesions}
    for row in (comparison.trivial, *comparison.rows):
        result = row.result
        record: dict[str, Any] = {
            "dataset": comparison.dataset,
            "section": comparison.section,
            "subjects": comparison.subjects,
            "model": row.title,
        }
        for name in INTERVALS:
            low, high = row.intervals.get(name, (math.nan, math.nan))
            record |= {name: row.scores[name], f"{name}_low": low, f"{name}_high": high}
        record["p"] = math.nan if row.p is None else row.p
        record |= {name: value for name, value in row.scores.items() if name not in INTERVALS}
        for name in INTERVALS:
            mean, deviation = row.folds.get(name, (math.nan, math.nan))
            record |= {f"{name}_fold_mean": mean, f"{name}_fold_sd": deviation}
        record |= lesion_record(lesions.get(row.title))
        record |= boundary_record(next((each for each in comparison.boundaries if each.title == row.title), None))
        if comparison.verdict and result:
            record |= place_record(comparison.verdict, row.title)
        record["run_ids"] = " ".join(i for each in result.trainings for i in each.run_ids) if result else ""
        record["run_name"] = result.run_name if result else ""
        record["dataset_digest"] = comparison.digest
        out.append({key: _plain(value) for key, value in record.items()})
    return out


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def option_rows(comparison: Comparison) -> list[list[str]]:
    """Return title and training options of each model."""
    rows = []
    for row in comparison.rows:
        params = row.result.params if row.result else {}
        values = [given(row.result, option) if option in params and row.result else "" for option in OPTIONS]
        rows.append([row.title, *values, row.result.name if row.result else ""])
    return rows
