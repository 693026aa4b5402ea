"""Record of an evaluation: training, data and rules."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engines.base.world import is_main
from engines.records.ensemble_members import STAGE, Trained
from engines.records.output_folder import Output, portable
from engines.records.tables import write_text
from transforms.digests import file_sha256

FILE = "evaluation.json"
FORMAT = 1

MORE_TABLES = (
    "scores.csv", "subjects.csv", "surface_distance.csv", "boundary.csv", "boundary_scores.csv", "groups.csv",
    "group_tests.csv",
)  # fmt: skip
"""Files that an evaluation writes besides those that `Output.clear_results` removes."""

NOT_OPTIONS = (
    "labels", "validation", "stage", "epoch", "run_id", "dataset", "dataset_digest", "split_digest", "licence",
    "reference", "intensity_ranges", "source_values", "ignore_label", "colour", "bundle",
)  # fmt: skip
"""Entries of a model's settings that are not options of its training."""


def safe_name(text: str, longest: int = 80) -> str:
    """Return a file name for any text: letters (of any script), digits and `_ . -`; the rest becomes `_`."""
    return re.sub(r"[^\w.-]+", "_", text)[:longest].strip("_.") or "dataset"


def evaluation_output(output: Output, dataset: str, section: str, digest: str, members: Sequence[str] = ()) -> Output:
    """Return the folder eval/<dataset>-<section> of an output folder; -ensemble is added for an ensemble.

    If it holds an evaluation of other data with the same name, or of other members, the beginning of the digest is
    added, so that neither overwrites the other.

    Args:
        members: digests of the weights of an ensemble's members.
    """
    name = f"{safe_name(dataset)}-{section}" + ("-ensemble" if members else "")
    own = Output(output.folder, name)
    held = _held(own.eval / FILE)
    if held is None:
        return own
    if held[:2] != (dataset, digest):
        name = f"{name}-{digest[:12]}"
    if held[2] != list(members):
        name = f"{name}-{hashlib.sha256(''.join(members).encode()).hexdigest()[:12]}"
    return Output(output.folder, name)


def training_record(settings: Mapping[str, Any], weights: Path | None) -> dict[str, Any]:
    """Return what identifies the training of weights: MLflow run, digest of the file, recipe, seed and options.

    Args:
        settings: content of models/<weights>.json.
        weights: the file; None if unknown.
    """
    return {
        "run_id": settings.get("run_id"),
        "stage": settings.get("stage"),
        "epoch": settings.get("epoch"),
        "weights_sha256": None if weights is None else file_sha256(weights),
        "recipe": settings.get("recipe"),
        "seed": settings.get("seed"),
        "dataset": settings.get("dataset"),
        "dataset_digest": settings.get("dataset_digest"),
        "options": {key: value for key, value in settings.items() if key not in NOT_OPTIONS},
    }


def ensemble_record(members: Sequence[Trained]) -> dict[str, Any]:
    """Return what identifies an ensemble: the `training_record` of each member, and the entries they share."""
    records = [
        training_record(member.settings, member.folder / "models" / f"{member.weights}.pt") for member in members
    ]
    first, *others = records
    same = {key: value for key, value in first.items() if all(other[key] == value for other in others)}
    options = first["options"]
    shared = {k: v for k, v in options.items() if all(other["options"].get(k) == v for other in others)}
    return {**dict.fromkeys(first), **same, "stage": STAGE, "options": shared, "members": records}


def write_evaluation(output: Output, record: Mapping[str, Any]) -> Path:
    """Write evaluation.json, after removing what an earlier evaluation left in the folder."""
    output.clear_results()
    for name in MORE_TABLES if is_main() else ():
        (output.eval / name).unlink(missing_ok=True)
    path = output.eval / FILE
    write_text(path, json.dumps({"format": FORMAT, **portable(record)}, indent=2, ensure_ascii=False) + "\n")
    return path


def _held(path: Path) -> tuple[str, str, list[str]] | None:
    """Return what a folder's evaluation is of: name and digest of the data set, digests of the members' weights."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        members = record.get("training", {}).get("members", [])
        data = record["data"]
        return str(data["dataset"]), str(data["dataset_digest"]), [str(each["weights_sha256"]) for each in members]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
