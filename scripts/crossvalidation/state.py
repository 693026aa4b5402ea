"""What a cross-validation was started with, and which folds are finished: on disk, so that it can go on."""

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
    """What must not change between the folds.

    Attributes:
        options: of the bundle, as given: "--max_epochs", "20", …
        folds_digest: of prescribed folds; None where a seed deals them.
        fold_seed: by which the folds are dealt; None where it is `seed`, or the folds are prescribed.
        train_share: of the subjects that are trained with; None for all.
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
    """Start in a folder, or go on in it; return the id of the MLflow run to go on with.

    Raises:
        UserError: a cross-validation with another plan is there, or the folder holds something else.
    """
    path = out / FILE
    clear_unfinished(out)
    if not path.is_file():
        if out.exists() and any(path.name != LOCK for path in out.iterdir()):
            raise UserError(f"{out}: is not empty, and holds no {FILE}; give another --out")
        save(out, plan, None)
        return None
    before, run_id = read(out)
    differing = changes(asdict(before), asdict(plan))
    if differing:
        raise UserError(
            f"{out}: a cross-validation with other settings was begun here ({'; '.join(differing)}); give those, or "
            "another --out"
        )
    return run_id


def read(out: Path) -> tuple[Plan, str | None]:
    """The plan of the cross-validation in a folder, and the id of its MLflow run.

    Raises:
        UserError: there is none.
    """
    path = out / FILE
    if not path.is_file():
        raise UserError(f"{out}: no cross-validation here; expected a folder with {FILE}, as scripts.crossval makes it")
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
    """Output folder of a fold's training; folds count from 1."""
    return out / f"fold-{number}"


def is_finished(out: Path, number: int) -> bool:
    """Whether a fold's training has ended well."""
    return (fold_folder(out, number) / FINISHED).is_file()


def set_finished(out: Path, number: int, about: Mapping[str, Any]) -> None:
    """Say that it has."""
    write_text(fold_folder(out, number) / FINISHED, json.dumps(dict(about)) + "\n")


def training_command(
    python: Sequence[str], plan: Plan, config: Path, out: Path, number: int, tags: Mapping[str, str]
) -> list[str]:
    """The bundle's own training of one fold; it resumes if it was interrupted.

    It holds no subjects out for an operating point, whatever the recipe says: that of a fold is chosen on the others.
    """
    folder = fold_folder(out, number)
    begun = Progress(folder / "models").exists()
    return [
        *python, "-m", "monai.bundle", "run", "training",
        "--config_file", str(config),
        "--dataset_dir", str(folder / "dataset"),
        "--output_dir", str(folder),
        "--seed", str(plan.seed),
        "--run_name", f"{plan.bundle} fold {number} of {plan.folds}",
        "--tags", str(dict(tags)),
        "--resume", str(begun).lower(),
        *([] if HELD_OUT in {word.partition("=")[0] for word in plan.options} else [HELD_OUT, "$None"]),
        *plan.options,
    ]  # fmt: skip
