"""Validity of the statement of `scripts.compare`, in simulated experiments with known truth.

    python -m scripts.benchmark verdict [--part errors|power|coverage|groups] [--experiments 2000] [--json]
    python -m scripts.benchmark verdict --part seeds --experiment_name NAME [--metric mean_image_dice]

errors: how often any row is called better if all are equivalent. power: how often a better row is called better.
coverage: how often a 95 % interval contains the truth. seeds: real trainings of the MLflow store that differ only in
their seed, one random half against the other; every "better" is a false claim. groups: how often groups of subjects
are said to differ, if they do not and if they do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest
from tqdm import tqdm

from engines.scoring.holm import holm
from scripts.verdict.interval_methods import METHODS, intervals
from scripts.verdict.pairs import all_pairs, exchange_p, exchanged, pair_scales, signs_of
from scripts.verdict.resampled_seeds import halves, old_method, single_pairs, subject_bootstrap
from scripts.verdict.row import Row
from scripts.verdict.simulated import MEAN, POOLED, World, experiment, shift_for, true_score
from scripts.verdict.simulated_groups import CASES, group_p
from scripts.verdict.spread import SeedSpread, joint_draws, seed_spread, subject_draws
from scripts.verdict.statement import LEVEL

DRAWS = 1000
POINTS = (1, 2, 5, 10)
FEW = (10, 18)
PARTS = ("errors", "power", "coverage", "groups")
REAL = "seeds"

Line = dict[str, Any]


def better(rows: Sequence[Row], rng: np.random.Generator, seeds_count: bool = True) -> np.ndarray:
    """(pairs,): whether one row of each pair is called better, as in `statement.state`.

    Args:
        seeds_count: False uses only the subjects, as a paired test of one training each.
    """
    pairs, folds = all_pairs(len(rows)), np.zeros(rows[0].subjects, np.int64)
    spread = seed_spread(rows, folds) if seeds_count else SeedSpread(np.zeros(len(rows)), 1)
    differences, scales = exchanged(rows, pairs), pair_scales(spread, pairs)
    # test only pairs that may be significant: p of the others is far above the level
    rough = np.abs(differences.sum(axis=1)) / np.sqrt((differences**2).sum(axis=1) + scales**2 + 1e-30)
    tested = np.flatnonzero(rough > 1.8)
    p = np.ones(len(pairs))
    if len(tested):
        signs = signs_of(len(folds), DRAWS, rng)
        p[tested] = exchange_p(differences[tested], signs, scales[tested], spread.freedom)
    found = np.array(holm(p.tolist())) < LEVEL
    if found.any():
        drawn = joint_draws(rows, subject_draws(folds, DRAWS, rng), spread, folds, rng)[1]
        low, high = np.percentile(np.stack([drawn[a] - drawn[b] for a, b in pairs]), [2.5, 97.5], axis=1)
        found &= (low > 0) | (high < 0)
    return found


def errors(world: World, rows: int, subjects: Sequence[int], seeds: Sequence[int], number: int) -> Iterator[Line]:
    """Yield the percentage of experiments with any row called better although all are equivalent."""
    for score in (MEAN, POOLED):
        for uneven in (False, True):
            here = World(**{**world.__dict__, "uneven": uneven})
            for n in subjects:
                for s in seeds:
                    rng = np.random.default_rng([n, s])
                    drawn = (experiment(here, score, rows, s, n, rng) for _ in progress(number, f"{score}, {n}, {s}"))
                    calls = [(bool(better(each, rng).any()), bool(better(each, rng, False).any())) for each in drawn]
                    yield {
                        "score": score,
                        "seeds alike": "no" if uneven else "yes",
                        "subjects": n,
                        "seeds": s,
                        **share("any better", [call[0] for call in calls]),
                        **share("without seeds", [call[1] for call in calls]),
                    }


def power(world: World, rows: int, subjects: Sequence[int], seeds: Sequence[int], number: int) -> Iterator[Line]:
    """Yield the percentage of pairs of the better row and another one that are called better."""
    shifts = {points: shift_for(world, points / 100) for points in POINTS}
    for count in (2, rows):
        for n in subjects:
            for s in seeds:
                line: Line = {"rows": count, "subjects": n, "seeds": s}
                for points, shift in shifts.items():
                    rng = np.random.default_rng([n, s])
                    drawn = (experiment(world, MEAN, count, s, n, rng, shift) for _ in progress(number, f"{points}"))
                    first = [pair[0] == 0 for pair in all_pairs(count)]
                    line[f"{points} points"] = 100 * float(np.mean([better(each, rng)[first] for each in drawn]))
                yield line


def differing_groups(world: World, subjects: Sequence[int], number: int) -> Iterator[Line]:
    """Yield how often p is at most 0.05 for three groups of subjects, or two views, in per cent."""
    for case in CASES:
        for n in subjects:
            line: Line = {"score": case.name, "subjects": n}
            for points in (0, 10, 20):
                rng = np.random.default_rng([n, points])
                bar = progress(number, f"{case.name}, {n}, {points}")
                line |= share(f"{points} points", [group_p(case, world, n, points / 100, rng) <= LEVEL for _ in bar])
            yield line


def coverage(world: World, subjects: Sequence[int], number: int) -> Iterator[Line]:
    """Yield how often each interval contains the truth, in per cent."""
    for score in (MEAN, POOLED):
        truth = true_score(world, score)
        for n in (*FEW, *(n for n in subjects if n not in FEW)):
            rng = np.random.default_rng(n)
            bounds = [
                intervals(row.numerator[0, :, 0], row.denominator[0, :, 0], DRAWS, rng)
                for row in (_one(world, score, n, rng) for _ in progress(number, f"{score}, {n}"))
            ]
            held = (np.array(bounds)[..., 0] <= truth) & (np.array(bounds)[..., 1] >= truth)
            line = {"score": score, "subjects": n, "seeds": 1}
            yield line | dict(zip(METHODS, (100 * held.mean(axis=0)).tolist(), strict=True))


def _one(world: World, score: str, n: int, rng: np.random.Generator) -> Row:
    return experiment(World(**{**world.__dict__, "seed": 0.0}), score, 1, 1, n, rng)[0]


def differences(world: World, subjects: Sequence[int], seeds: Sequence[int], number: int) -> Iterator[Line]:
    """Yield how often the interval of the difference of two rows, over subjects and seeds, contains the truth."""
    shift = shift_for(world, 0.05)
    for score in (MEAN, POOLED):
        truth = true_score(world, score, shift) - true_score(world, score)
        for n in (*FEW, *(n for n in subjects if n not in FEW)):
            for s in seeds:
                rng, folds = np.random.default_rng([n, s]), np.zeros(n, np.int64)
                held = []
                for _ in progress(number, f"difference of {score}, {n}, {s}"):
                    rows = experiment(world, score, 2, s, n, rng, shift)
                    times = subject_draws(folds, DRAWS, rng)
                    drawn = joint_draws(rows, times, seed_spread(rows, folds), folds, rng)[1]
                    low, high = np.percentile(drawn[0] - drawn[1], [2.5, 97.5])
                    held.append(low <= truth <= high)
                yield {"score": f"difference of {score}", "subjects": n, "seeds": s, "joint draws": 100 * np.mean(held)}


def real_seeds(experiment_name: str, tracking_uri: str | None, metric: str | None, splits: int) -> Iterator[Line]:
    """Yield, for each row with at least six seeds, how often one half of the seeds is called better than the other."""
    from engines.records.mlflow_store import as_tracking_uri, default_tracking_uri
    from scripts.comparison.choice import Filters, chosen  # seconds: MLflow, torch
    from scripts.comparison.metric import default_metric, fold_numbers, verdict_rows
    from scripts.comparison.store import Store

    uri = as_tracking_uri(tracking_uri) if tracking_uri else default_tracking_uri()
    for result in chosen(Store(uri, experiment_name), Filters()):
        score = metric or default_metric(result.classes)
        row = verdict_rows([result.model.title], [result], score)[0]
        if row.seeds < 6:
            continue
        rng, folds = np.random.default_rng(0), fold_numbers(result)
        times = subject_draws(folds, DRAWS, rng)
        singles = list(single_pairs(row))
        values = 100 * row.values()
        yield {
            "row": row.title,
            "score": score,
            "subjects": row.subjects,
            "seeds": row.seeds,
            "mean": float(values.mean()),
            "SD of seeds": float(values.std(ddof=1)),
            "range": f"{values.min():.1f} to {values.max():.1f}",
            **share("half against half: better", [bool(better(pair, rng).any()) for pair in halves(row, splits, rng)]),
            **share("one against one: Wilcoxon", [old_method(pair) for pair in singles]),
            **share("one against one: bootstrap", [subject_bootstrap(pair, times) for pair in singles]),
        }


def progress(number: int, what: str) -> Iterator[int]:
    """Count experiments with a progress bar."""
    yield from tqdm(range(number), desc=what, leave=False, delay=2)


def share(name: str, calls: Sequence[bool]) -> Line:
    """Return the percentage of experiments with its 95 % interval (Wilson)."""
    found = binomtest(int(np.sum(calls)), len(calls)).proportion_ci(method="wilson")
    return {name: 100 * float(np.mean(calls)), f"{name}, low": 100 * found.low, f"{name}, high": 100 * found.high}


def verdict(
    part: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(PARTS)}; may be repeated. Default: all of these. Or seeds.")
    ] = None,
    experiments: Annotated[int, typer.Option(min=10, help="Simulated experiments per table row.")] = 2000,
    rows: Annotated[int, typer.Option(min=2, help="Networks compared.")] = 8,
    subjects: Annotated[str, typer.Option(help="Comma-separated numbers of subjects.")] = "18,60,101",
    seeds: Annotated[str, typer.Option(help="Comma-separated numbers of seeds per row, 3 or more.")] = "3,5",
    subject_sd: Annotated[float, typer.Option(help="Standard deviation over subjects, in points of Dice.")] = 25,
    pair_sd: Annotated[
        float, typer.Option(help="Standard deviation over subjects of the difference between two rows.")
    ] = 10,
    training_sd: Annotated[
        float, typer.Option(help="Standard deviation over subjects of the difference between two trainings.")
    ] = 10,
    seed_sd: Annotated[
        float, typer.Option(help="Standard deviation over the trainings of a row, common to all subjects.")
    ] = 1.5,
    experiment_name: Annotated[
        str, typer.Option("--experiment_name", "--experiment", help="MLflow experiment of --part seeds.")
    ] = "",
    tracking_uri: Annotated[str | None, typer.Option("--tracking_uri", help="MLflow store of --part seeds.")] = None,
    metric: Annotated[str | None, typer.Option(help="Score of --part seeds, as in scripts.compare.")] = None,
    splits: Annotated[int, typer.Option(min=1, help="Halves drawn in --part seeds.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Simulate whether "better" is right, and whether intervals contain the truth; takes minutes."""
    unknown = sorted(set(part or ()) - {*PARTS, REAL})
    if unknown:
        raise ValueError(f"--part {unknown[0]}: unknown; choose from {', '.join((*PARTS, REAL))}")
    if (REAL in (part or ())) != bool(experiment_name):
        raise ValueError(
            "--part seeds: requires --experiment_name NAME, with rows of six or more seeds, and vice versa"
        )
    n, s = _numbers("--subjects", subjects, 4), _numbers("--seeds", seeds, 3)
    world = World(subject=subject_sd / 100, pair=pair_sd / 100, training=training_sd / 100, seed=seed_sd / 100)
    tables: dict[str, Callable[[], Iterator[Line]]] = {
        "errors": lambda: errors(world, rows, n, s, experiments),
        "power": lambda: power(world, rows, n, s, experiments),
        "coverage": lambda: coverage(world, n, experiments),
        "groups": lambda: differing_groups(world, n, experiments),
        "coverage of differences": lambda: differences(world, n, s, experiments),
    }
    made = {name: list(table()) for name, table in tables.items() if not part or name.split()[0] in part}
    if experiment_name:
        made[REAL] = list(real_seeds(experiment_name, tracking_uri, metric, splits))
        if not made[REAL]:
            raise ValueError(f"--experiment_name {experiment_name}: no row has six or more seeds")
    if as_json:
        print(json.dumps(made))
        return
    for name, lines in made.items():
        of = f"{splits} halves, and of all pairs of seeds" if name == REAL else f"{experiments} experiments"
        table = Table(*_texts(lines[0]), title=f"{name}, per cent of {of}")
        for line in lines:
            table.add_row(*_texts(line).values())
        Console().print(table)


def _texts(line: Line) -> dict[str, str]:
    """Return cells by column, with a percentage and its interval in one cell."""
    texts = {name: f"{value:.1f}" if isinstance(value, float) else str(value) for name, value in line.items()}
    for name in [name for name in line if f"{name}, low" in line]:
        texts[name] += f" [{texts.pop(f'{name}, low')}, {texts.pop(f'{name}, high')}]"
    return texts


def _numbers(option: str, text: str, smallest: int) -> list[int]:
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} {text}: expected integers, such as 18,60") from None
    if min(numbers) < smallest:
        raise ValueError(f"{option} {text}: expected {smallest} or more")
    return numbers
