"""Whether a training that is to be resumed is the one that was interrupted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engines.base.replaced_options import upgraded
from engines.scoring.lesions import LESION_OPTIONS
from engines.training.stage_lesions import POINT_OPTIONS
from transforms.errors import UserError

FREE = (
    *("max_epochs", "patience", "num_workers", "intensity_ranges", "licence", "reference"),
    *LESION_OPTIONS,
    *POINT_OPTIONS,
)
"""Settings that may differ between a resumed training and the interrupted one."""


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], record: Path) -> None:
    """Compare the settings of an interrupted training, also of one by an earlier version, with today's.

    Raises:
        UserError: they differ; names the record and each difference.
    """
    changed = changes(upgraded(before, now), now, besides=FREE)
    if changed:
        raise UserError(
            f"{record}: the interrupted training had other settings ({'; '.join(changed)}); "
            "give them again, or train anew without --resume"
        )


def changes(before: Mapping[str, Any], after: Mapping[str, Any], besides: Sequence[str] = ()) -> list[str]:
    """One phrase per differing entry of two dictionaries."""
    keys = [k for k in dict.fromkeys([*before, *after]) if k not in besides]
    return [f"{k}: {before.get(k)} → {after.get(k)}" for k in keys if before.get(k) != after.get(k)]
