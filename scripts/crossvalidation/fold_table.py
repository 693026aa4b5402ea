"""The folds' results, read from their folders: needs no MLflow."""

from __future__ import annotations

import json
from pathlib import Path

from engines.base.network_file import read_rows
from engines.base.paths import project_root
from scripts.comparison.models import model_of
from scripts.comparison.store import Result, cross_validation, of_evidence
from scripts.crossvalidation.state import Plan, fold_folder


def results(out: Path, plan: Plan) -> list[Result]:
    """One row for each stage, over all folds."""
    folders = [fold_folder(out, number) for number in range(1, plan.folds + 1)]
    config = json.loads((folders[0] / "eval" / "config.json").read_text(encoding="utf-8"))
    params = {name: str(value) for name, value in config.items()}
    titles = read_rows(project_root() / "bundles" / plan.bundle)
    rows = []
    for stage in config["stages"]:
        folds = [
            of_evidence(
                json.loads((folder / "eval" / f"confusion-{stage}.json").read_text(encoding="utf-8")),
                run_name=folder.name,
                run_ids=(folder.name,),
                params=params,
                model=model_of(titles.tags(stage), stage),
            )
            for folder in folders
        ]
        rows.append(cross_validation(folds, f"{plan.bundle}, {plan.folds} folds", plan.folds))
    return rows
