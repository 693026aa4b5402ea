"""Which evaluation a folder holds: of what training, on what data, by what rules."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.base.distributed import is_main
from engines.records.output_folder import Output, portable
from engines.records.tables import write_text
from transforms.digests import file_sha256

FILE = "evaluation.json"
FORMAT = 1

MORE_TABLES = ("scores.csv", "subjects.csv", "surface_distance.csv")
"""What an evaluation writes besides what `Output.clear_results` removes."""

NOT_OPTIONS = (
    "labels", "validation", "stage", "epoch", "run_id", "dataset", "dataset_digest", "split_digest", "licence",
    "reference", "intensity_ranges", "source_values", "ignore_label", "colour",
)  # fmt: skip
"""Entries of a model's settings that are no options of its training."""


def safe_name(text: str, longest: int = 80) -> str:
    """A file name for any text: letters (of any script), digits and `_ . -`; the rest becomes `_`."""
    return re.sub(r"[^\w.-]+", "_", text)[:longest].strip("_.") or "dataset"


def evaluation_output(output: Output, dataset: str, section: str, digest: str) -> Output:
    """The folder eval/<dataset>-<section> of an output folder.

    Where that holds the evaluation of other data by the same name, the beginning of the digest is added, so that
    none overwrites the other.
    """
    name = f"{safe_name(dataset)}-{section}"
    own = Output(output.folder, name)
    held = _held(own.eval / FILE)
    if held is not None and held != (dataset, digest):
        return Output(output.folder, f"{name}-{digest[:12]}")
    return own


def training_record(settings: Mapping[str, Any], weights: Path | None) -> dict[str, Any]:
    """What tells the training that weights are of: its MLflow run, the file's digest, its recipe, seed and options.

    Args:
        settings: what models/<weights>.json holds.
        weights: the file; None where it is not known.
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


def write_evaluation(output: Output, record: Mapping[str, Any]) -> Path:
    """Write evaluation.json, after removing what an earlier evaluation left in the folder."""
    output.clear_results()
    for name in MORE_TABLES if is_main() else ():
        (output.eval / name).unlink(missing_ok=True)
    path = output.eval / FILE
    write_text(path, json.dumps({"format": FORMAT, **portable(record)}, indent=2, ensure_ascii=False) + "\n")
    return path


def _held(path: Path) -> tuple[str, str] | None:
    """Name and digest of the data set that a folder has an evaluation of; None where there is none to be read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))["data"]
        return str(data["dataset"]), str(data["dataset_digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
