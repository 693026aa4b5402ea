"""Results of the folds, read from their folders without MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engines.base.network_file import read_rows
from engines.base.paths import bundle_folder
from engines.records.trained_model import store_point
from scripts.comparison.models import Model, model_of
from scripts.comparison.out_of_fold import at_points
from scripts.comparison.store import Result, cross_validation, of_evidence
from scripts.crossvalidation.state import Plan, fold_folder
from transforms.errors import UserError
from transforms.strict_json import read_object

DAMAGED = "restore it, or remove the folder of its fold and repeat the command"


def results(out: Path, plan: Plan, rule: str | None = None) -> list[Result]:
    """Return one row per stage, over all folds.

    Args:
        rule: rule for operating points (`choose_point`). That of each fold is chosen on the out-of-fold predictions
            of the other folds, stored with its weights, and applied to its masks.
    """
    folders = [fold_folder(out, number) for number in range(1, plan.folds + 1)]
    config = read_object(folders[0] / "eval" / "config.json", DAMAGED)
    params = {name: str(value) for name, value in config.items()}
    titles = read_rows(bundle_folder(plan.bundle))
    rows = []
    if not isinstance(config.get("stages"), list):
        raise UserError(f"{folders[0] / 'eval' / 'config.json'}: has no list of stages; {DAMAGED}")
    for stage in config["stages"]:
        folds = [
            fold_result(folder / "eval", stage, folder.name, params, model_of(titles.tags(stage), stage))
            for folder in folders
        ]
        if rule is not None:
            folds = at_points(folds, rule)
            for folder, fold in zip(folders, folds, strict=True):
                if fold.lesions is not None and fold.lesions.point is not None:
                    store_point(folder, stage, fold.lesions.point)
        rows.append(cross_validation(folds, f"{plan.bundle}, {plan.folds} folds", plan.folds))
    return rows


def fold_result(folder: Path, stage: str, name: str, params: Mapping[str, str], model: Model) -> Result:
    """Read the result of a fold from its folder of confusion files."""
    confusion = folder / f"confusion-{stage}.json"
    # missing if no class is a lesion, or if written by an older version
    more = [folder / f"{kind}-{stage}.json" for kind in ("lesions", "boundary")]
    lesions, measured = (read_object(path, DAMAGED) if path.is_file() else None for path in more)
    matrices = read_object(confusion, DAMAGED)
    try:
        return of_evidence(
            matrices,
            lesions,
            measured,
            run_name=name,
            run_ids=(name,),
            params=params,
            model=model,
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(f"{confusion}: is damaged ({type(error).__name__}); {DAMAGED}") from None
