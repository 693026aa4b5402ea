"""The folds' results, read from their folders: needs no MLflow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engines.base.network_file import read_rows
from engines.base.paths import project_root
from engines.records.trained_model import store_point
from engines.scoring.operating_point import at_point, out_of_fold_points
from scripts.comparison.models import model_of
from scripts.comparison.store import Result, cross_validation, of_evidence
from scripts.crossvalidation.state import Plan, fold_folder
from transforms.errors import UserError


def results(out: Path, plan: Plan, rule: str | None = None) -> list[Result]:
    """One row for each stage, over all folds.

    Args:
        rule: of the operating points (`choose_point`): each fold's is chosen on the out-of-fold predictions of the
            others, and stored with its weights; its masks are those of it.
    """
    folders = [fold_folder(out, number) for number in range(1, plan.folds + 1)]
    config = json.loads((folders[0] / "eval" / "config.json").read_text(encoding="utf-8"))
    params = {name: str(value) for name, value in config.items()}
    titles = read_rows(project_root() / "bundles" / plan.bundle)
    rows = []
    for stage in config["stages"]:
        folds = [
            of_evidence(
                json.loads((folder / "eval" / f"confusion-{stage}.json").read_text(encoding="utf-8")),
                _lesions(folder / "eval" / f"lesions-{stage}.json"),
                run_name=folder.name,
                run_ids=(folder.name,),
                params=params,
                model=model_of(titles.tags(stage), stage),
            )
            for folder in folders
        ]
        if rule is not None:
            folds = _with_points(folds, folders, stage, rule)
        rows.append(cross_validation(folds, f"{plan.bundle}, {plan.folds} folds", plan.folds))
    return rows


def _with_points(folds: Sequence[Result], folders: Sequence[Path], stage: str, rule: str) -> list[Result]:
    counted = [fold.lesions for fold in folds if fold.lesions is not None]
    if len(counted) < len(folds) or any(image.histogram is None for lesions in counted for image in lesions.images):
        raise UserError("--threshold_rule: no class of this data set is a lesion, or the folds are of an older version")
    points = out_of_fold_points([lesions.images for lesions in counted], rule, counted[0].classes)
    out = []
    for fold, lesions, folder, point in zip(folds, counted, folders, points, strict=True):
        store_point(folder, stage, point.record)
        images = tuple(at_point(image, point) for image in lesions.images)
        out.append(replace(fold, lesions=replace(lesions, images=images, point=point.record)))
    return out


def _lesions(path: Path) -> dict[str, Any] | None:
    """What was counted of lesions; None where no class is one, or the fold is older than that."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
