"""Resuming an interrupted training: comparison with the given settings, and restoring of its state."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engines.base.replaced_options import upgraded
from engines.records.mlflow_run import Tracking
from engines.records.resume_state import Progress
from engines.scoring.lesions import LESION_OPTIONS
from engines.training.plan import Stage
from engines.training.stage_lesions import POINT_OPTIONS
from nets.safe_load import reason
from transforms.errors import UserError

logger = logging.getLogger("mammoseg")

FREE = (
    *("max_epochs", "patience", "num_workers", "checkpointing", "cache_frozen"),
    *("intensity_ranges", "licence", "reference"),
    *LESION_OPTIONS,
    *POINT_OPTIONS,
)
"""Settings in which a resumed training may differ from the interrupted one: they change neither which subjects are
trained with nor the crops and the loss; for `max_epochs` see `engines.training.planned_epochs`."""


def check_same(path: Path, saved: Mapping[str, Any], settings: Mapping[str, Any], stages: Sequence[str]) -> int:
    """Return the index of the stage that a saved training was in.

    Raises:
        UserError: it had other settings, or another stage; names each difference.
    """
    changed = changes(upgraded(saved["settings"], settings), settings, besides=FREE)
    if changed:
        raise UserError(
            f"{path}: the interrupted training had other settings ({'; '.join(changed)}); "
            "give them again, or train again without --resume"
        )
    if saved["stage"] not in stages:
        raise UserError(f"{path}: its stage {saved['stage']!r} is not one of {', '.join(stages)}")
    return list(stages).index(saved["stage"])


def say_it_is_over(stage: Stage, epoch: int) -> None:
    """Log why nothing is left to train in a resumed training."""
    logger.info(
        "Stage %s is already at epoch %d of %d%s: nothing left to train; raise max_epochs to train further (with the "
        "result of an uninterrupted training only if lr_schedule is piecewise, without fine_tuning).",
        *(stage.name, epoch, stage.max_epochs),
        " (stopped early; raise patience too)" if epoch < stage.max_epochs else "",
    )


def keep_runs(progress: Progress, saved: Mapping[str, Any], tracking: Tracking) -> None:
    """Save the new MLflow runs of a resumed training whose earlier runs are no longer in the store.

    If no epoch is left, nothing else would save them, and each resume would create them again.
    """
    runs = {"run_id": tracking.run_id, "stage_runs": tracking.stage_runs}
    if tracking.enabled and not tracking.failed and any(saved[key] != value for key, value in runs.items()):
        progress.save({**saved, **runs}, rotate=False)


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Report in one line that a saved state does not fit.

    Raises:
        UserError: in place of the error raised on restoring it.
    """
    try:
        yield
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(
            f"{path}: does not fit this network and optimizer ({reason(error)}); train again without --resume"
        ) from error


def changes(before: Mapping[str, Any], after: Mapping[str, Any], besides: Sequence[str] = ()) -> list[str]:
    """Return one phrase per differing entry of two dictionaries."""
    keys = [k for k in dict.fromkeys([*before, *after]) if k not in besides]
    return [f"{k}: {before.get(k)} → {after.get(k)}" for k in keys if before.get(k) != after.get(k)]
