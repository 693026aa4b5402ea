"""Selection of results: filters, the latest run per row, and refusal to mix results on different data."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from scripts.comparison.models import sort_key
from scripts.comparison.out_of_fold import at_points
from scripts.comparison.store import Result, Store, cross_validation
from transforms.errors import UserError

MAY_DIFFER = ("seed", "git_commit", "versions", "device", "num_workers", "dataset_dir", "output_dir", "bundle_root")
"""Parameters that may differ between trainings of one row with several seeds."""


SHARE_TAG = "train_share"
"""Tag of trainings on a fraction of the subjects, which are only compared if the tag is requested."""


@dataclass(frozen=True)
class Filters:
    """Selection by the user; an empty filter selects everything.

    Attributes:
        datasets: names, or prefixes of digests.
        tags: required tags of the runs.
        runs: names, or prefixes of ids, of runs or their trainings.
        section: section of the data set.
        kind: "stage" for validation during training, or "evaluation".
        cross: cross-validations instead of single trainings.
        every: all runs instead of the latest per row.
        threshold_rule: rule for operating points of the folds, see `at_points`; None for the most likely class.
    """

    datasets: Sequence[str] = ()
    tags: Mapping[str, str] | None = None
    runs: Sequence[str] = ()
    section: str = "validation"
    kind: str = "stage"
    cross: bool = False
    every: bool = False
    threshold_rule: str | None = None


def chosen(store: Store, filters: Filters) -> list[Result]:
    """Return the results to compare, in the order of their networks.

    Raises:
        UserError: no result matches.
    """
    runs = [run for run in store.runs() if _asked_for(run, filters)]
    results, old = _results(store, runs, filters)
    if not results:
        raise UserError(
            f"{store.uri}: no matching {'cross-validation' if filters.cross else 'finished result'}; train a bundle, "
            "or give another --experiment_name, --dataset, --section, --tag or --run"
            + (f" ({old} runs are from a version without confusion matrices)" if old else "")
        )
    if old:
        print(
            f"left out: {old} runs whose confusion matrices are missing, or not at the location in {store.uri}",
            file=sys.stderr,
        )
    if not (filters.every or filters.runs):
        results = _latest(results)
    if not filters.cross:
        results = [store.completed(result) for result in results]
    return sorted(results, key=lambda result: (sort_key(result.model, result.stage), result.started))


def _asked_for(run: Run, filters: Filters) -> bool:
    tags = run.data.tags
    kinds = (filters.kind, "evaluation") if filters.cross else (filters.kind,)  # folds of an ensemble are evaluations
    if SHARE_TAG in tags and SHARE_TAG not in (filters.tags or {}):
        return False
    if ("fold" in tags) != filters.cross or tags.get("kind", "stage") not in kinds:
        return False
    if any(tags.get(key) != value for key, value in (filters.tags or {}).items()):
        return False
    parents = (tags.get(key, "") for key in (MLFLOW_PARENT_RUN_ID, "crossval", "training_run_id"))
    known = (run.info.run_id, *parents)
    name = run.info.run_name or ""
    named = (name, name.removesuffix(f" {tags['stage']}"))  # name of the run, and of its training
    return not filters.runs or any(
        wanted in named or any(i.startswith(wanted) for i in known if i) for wanted in filters.runs
    )


def _results(store: Store, runs: Iterable[Run], filters: Filters) -> tuple[list[Result], int]:
    """Return results of matching runs, the latest first, and the number of runs without matrices."""
    results: list[Result] = []
    groups: dict[tuple[str, ...], list[tuple[Run, Result]]] = {}
    old = 0
    for run in runs:
        result = store.result(run, full=filters.cross)
        if result is None:
            old += 1
        elif result.section == filters.section and _is_dataset(result, filters):
            if filters.cross:
                groups.setdefault((run.data.tags.get("crossval", ""), *result.row), []).append((run, result))
            else:
                results.append(result)
    return results + [_group(members, filters.threshold_rule) for members in groups.values()], old


def _is_dataset(result: Result, filters: Filters) -> bool:
    names = filters.datasets
    return not names or any(result.dataset == name or (name and result.digest.startswith(name)) for name in names)


def _group(members: Sequence[tuple[Run, Result]], rule: str | None) -> Result:
    """Combine the folds of one cross-validation; of a fold that was run twice, use the later.

    Raises:
        UserError: the tags of a run that set the folds are not numbers.
    """
    latest: dict[str, Result] = {}
    for run, result in members:
        latest.setdefault(run.data.tags["fold"], result)
    tags = members[0][0].data.tags
    try:
        folds = [latest[number] for number in sorted(latest, key=int)]
        expected = int(tags.get("folds", len(folds)))
    except ValueError:
        raise UserError(
            f"{members[0][1].name}: a cross-validation with the folds {', '.join(latest)} of {tags.get('folds')}; "
            "expected numbers in the tags fold and folds; correct them, or leave it out with --run or --tag"
        ) from None
    if rule is not None and len(folds) > 1:
        folds = at_points(folds, rule)
    return cross_validation(folds, tags.get("crossval_name", "cross-validation"), expected)


def _latest(results: Sequence[Result]) -> list[Result]:
    """Return the latest result per row (bundle and stage) and data set, preferring complete trainings.

    Each is combined with the latest results that differ only in their seeds. Unfinished cross-validations are left out.
    """
    rows: dict[tuple[str, ...], list[Result]] = {}
    for result in sorted(results, key=lambda result: (not result.whole, -result.started)):
        if len(result.folds) == result.expected_folds:
            rows.setdefault((*result.row, result.dataset), []).append(result)
    return [_with_seeds(members) for members in rows.values()]


def _with_seeds(members: Sequence[Result]) -> Result:
    """Return the first result, combined with those of equal trainings with other seeds."""
    first = members[0]
    seeds: dict[str, Result] = {}
    for other in members[1:] if "seed" in first.params and first.whole else ():
        seed = other.params.get("seed", first.params["seed"])
        if seed != first.params["seed"] and other.whole and _alike(first, other):
            seeds.setdefault(seed, other)
    return replace(first, seeds=tuple(seeds[seed] for seed in sorted(seeds)))


def _alike(first: Result, second: Result) -> bool:
    """Whether two trainings differ only in their seed and other parameters of `MAY_DIFFER`."""
    own = [{k: v for k, v in result.params.items() if k not in MAY_DIFFER} for result in (first, second)]
    return first.basis == second.basis and own[0] == own[1]


def comparable(results: Sequence[Result]) -> list[Result]:
    """Return the results if all were scored on the same subjects of the same data.

    Raises:
        UserError: they were not; the message names the runs.
    """
    groups: dict[tuple[object, ...], list[Result]] = {}
    for result in results:
        groups.setdefault(result.basis, []).append(result)
    if len(groups) == 1:
        return list(results)
    parts = []
    for members in groups.values():
        first = members[0]
        names = ", ".join(member.name for member in members)
        parts.append(
            f"{names} on {len(first.subjects)} {first.section} subjects of {first.dataset} "
            f"(digest {first.digest[:12]}, {len(first.classes)} classes)"
        )
    raise UserError(
        f"not comparable, since scored on different images: {'; '.join(parts)}; select some with --dataset "
        "(a name, or the beginning of a digest), --tag or --run"
    )
