"""State of a cross-validation on disk, to resume it: its settings, and which folds are finished."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engines.base.lock import NAME as LOCK
from engines.records.resume_state import Progress
from engines.records.tables import write_text
from engines.training.interrupted import changes
from transforms.atomic_write import clear_unfinished
from transforms.errors import UserError

FILE, FINISHED = "crossval.json", "finished.json"
HELD_OUT = "--threshold_from"


@dataclass(frozen=True)
class Plan:
    """Settings that must not change between the folds.

    Attributes:
        options: options of the bundle, as given: "--max_epochs", "20", …
        folds_digest: digest of given folds; None if drawn by a seed.
        fold_seed: seed for drawing the folds; None if equal to `seed`, or if the folds are given.
        train_share: fraction of the subjects to train on; None for all.
    """

    bundle: str
    folds: int
    seed: int
    dataset_digest: str
    options: tuple[str, ...]
    folds_digest: str | None = None
    fold_seed: int | None = None
    train_share: float | None = None


def begin(out: Path, plan: Plan) -> str | None:
    """Start or resume in a folder; return the id of the MLflow run to resume.

    A plan of which no fold was trained, for instance since an option was mistyped, is replaced.

    Raises:
        UserError: the folder holds a cross-validation with another plan, or something else.
    """
    path = out / FILE
    clear_unfinished(out)
    if not path.is_file():
        if out.exists() and any(path.name != LOCK for path in out.iterdir()):
            raise UserError(f"{out}: is not empty and has no {FILE}; give another --out")
        save(out, plan, None)
        return None
    before, run_id = read(out)
    differing = changes(asdict(before), asdict(plan))
    if differing and not any(_is_begun(out, n) or is_finished(out, n) for n in range(1, before.folds + 1)):
        return None
    if differing:
        raise UserError(
            f"{out}: holds a cross-validation with other settings ({'; '.join(differing)}); use those, or give "
            "another --out"
        )
    return run_id


def read(out: Path) -> tuple[Plan, str | None]:
    """Read the plan of the cross-validation in a folder, and the id of its MLflow run.

    Raises:
        UserError: the folder has none, or it cannot be read.
    """
    path = out / FILE
    if not path.is_file():
        raise UserError(f"{out}: no cross-validation here; expected a folder of scripts.crossval with {FILE}")
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        plan = Plan(**{**saved["plan"], "options": tuple(saved["plan"]["options"])})
        run_id: str | None = saved["run_id"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error}); give another --out") from error
    return plan, run_id


def save(out: Path, plan: Plan, run_id: str | None) -> None:
    """Write the state."""
    write_text(out / FILE, json.dumps({"plan": asdict(plan), "run_id": run_id}, indent=2) + "\n")


def fold_folder(out: Path, number: int) -> Path:
    """Return the output folder of a fold's training; folds are numbered from 1."""
    return out / f"fold-{number}"


def is_finished(out: Path, number: int) -> bool:
    """Whether a fold's training has finished."""
    return (fold_folder(out, number) / FINISHED).is_file()


def _is_begun(out: Path, number: int) -> bool:
    """Whether a fold's training can be resumed."""
    return Progress(fold_folder(out, number) / "models").exists()


def set_finished(out: Path, number: int, about: Mapping[str, Any]) -> None:
    """Mark a fold's training as finished."""
    write_text(fold_folder(out, number) / FINISHED, json.dumps(dict(about)) + "\n")


def training_command(
    python: Sequence[str], plan: Plan, config: Path, out: Path, number: int, tags: Mapping[str, str]
) -> list[str]:
    """Return the command of the training of one fold, which resumes if interrupted.

    Regardless of the recipe, no subjects are held out for an operating point, because that of a fold is chosen on the
    other folds.
    """
    folder = fold_folder(out, number)
    return [
        *python, "-m", "monai.bundle", "run", "training",
        "--config_file", str(config),
        "--dataset_dir", str(folder / "dataset"),
        "--output_dir", str(folder),
        "--seed", str(plan.seed),
        "--run_name", f"{plan.bundle} fold {number} of {plan.folds}",
        "--tags", str(dict(tags)),
        "--resume", str(_is_begun(out, number)).lower(),
        *([] if HELD_OUT in {word.partition("=")[0] for word in plan.options} else [HELD_OUT, "$None"]),
        *plan.options,
    ]  # fmt: skip
