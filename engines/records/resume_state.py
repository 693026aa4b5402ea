"""State from which a training is resumed: models/progress.pt, and the state of the epoch before."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.base.world import is_main
from engines.records.checkpoint import load_checkpoint, save_checkpoint
from nets.safe_load import not_finite
from transforms.errors import UserError

logger = logging.getLogger("mammoseg")

NEEDED: dict[str, tuple[type, ...]] = {
    "settings": (dict,),
    "stage": (str,),
    "epoch": (int,),
    "network": (dict,),
    "optimizer": (dict,),
    "best": (dict,),
    "results": (dict,),
    "stopping": (tuple, list),
    "run_id": (str, type(None)),
    "stage_runs": (dict,),
}
"""Entries of the saved state, with their types."""


class Progress:
    """Saved states in a folder.

        progress.pt            the state after the last epoch; that of the start until the first epoch ends
        progress-previous.pt   the state one epoch before, in case progress.pt is damaged
        progress-before.pt     the state of the previous training, until a stage of the new one ends

    Args:
        models: the folder.
    """

    def __init__(self, models: Path) -> None:
        self.file = models / "progress.pt"
        self.previous = models / "progress-previous.pt"
        self.before = models / "progress-before.pt"

    def exists(self) -> bool:
        """Return whether there is a state to resume from."""
        return self.file.is_file() or self.previous.is_file()

    def set_aside(self, has_epochs: bool) -> None:
        """Set the latest state aside for a new training; without an epoch it does not replace an older one."""
        if not is_main():
            return
        latest = self.file if self.file.is_file() else self.previous
        if latest.is_file() and (has_epochs or not self.before.is_file()):
            latest.replace(self.before)
            logger.info(
                "An earlier training in %s is replaced. To continue the earlier one: stop this one, rename %s to %s, "
                "and give --resume true.",
                *(self.file.parent, self.before.name, self.file.name),
            )
        self.file.unlink(missing_ok=True)
        self.previous.unlink(missing_ok=True)

    def save(self, snapshot: Mapping[str, Any], rotate: bool = True) -> None:
        """Write the state; with `rotate`, the previous one is kept as progress-previous.pt."""
        save_checkpoint(dict(snapshot), self.file, self.previous if rotate else None)

    def load(self) -> dict[str, Any]:
        """Read the state; if it is damaged, the previous one.

        Raises:
            UserError: no state exists, or none is usable.
        """
        problems = []
        for path in (self.file, self.previous):
            if not path.is_file():
                continue
            try:
                saved = _read(path)
            except UserError as error:
                problems.append(str(error))
                continue
            for problem in problems:
                logger.warning("%s; resuming one epoch earlier, from %s", problem, path.name)
            return saved
        if problems:
            raise UserError(f"{problems[0]}; {self.previous.name} cannot be used either; train again without --resume")
        hint = f"; rename {self.before.name} to resume the previous training" if self.before.is_file() else ""
        raise UserError(f"{self.file}: no training to resume here; start one without --resume{hint}")


def _read(path: Path) -> dict[str, Any]:
    saved = load_checkpoint(path)
    missing = [name for name in NEEDED if not isinstance(saved, dict) or not isinstance(saved.get(name), NEEDED[name])]
    if missing:
        raise UserError(f"{path}: is not the state of a training (no usable {missing[0]})")
    if not 0 <= saved["epoch"] < 100_000_000 or len(saved["stopping"]) != 2:
        raise UserError(f"{path}: is not the state of a training (epoch {saved['epoch']})")
    if unusable := not_finite(saved["network"]):
        raise UserError(f"{path}: {len(unusable)} weights are NaN or infinite, such as {unusable[0]}")
    return dict(saved)
