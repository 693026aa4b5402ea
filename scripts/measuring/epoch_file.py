"""Epochs that `python -m scripts.benchmark evidence` counted, in a file that outlives an interrupted call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scripts.measuring import rows
from scripts.measuring.shared_device import Epoch


@dataclass(frozen=True)
class Counted:
    """An epoch, with the time at which its call began to count."""

    begin: float
    epoch: Epoch


class EpochFile:
    """Epochs of all calls on the same device in the same conditions, one JSON object per line.

    Args:
        path: the file; created by the first epoch.
        conditions: device, version of torch, recipe and so on; epochs in other conditions are kept, but not read.
    """

    def __init__(self, path: Path, conditions: Mapping[str, Any]) -> None:
        self.path = path
        self.conditions = dict(conditions)

    def append(self, begin: float, epoch: Epoch) -> None:
        """Write an epoch."""
        rows.append_line(self.path, {**self.conditions, "begin": begin, "epoch": asdict(epoch)})

    def read(self) -> list[Counted]:
        """Return the epochs in the same conditions.

        Raises:
            UserError: the file holds something other than epochs.
        """
        return [counted for conditions, counted in self._lines() if conditions == self.conditions]

    def _lines(self) -> list[tuple[dict[str, Any], Counted]]:
        def parse(line: str) -> tuple[dict[str, Any], Counted]:
            entry = json.loads(line)
            return entry, Counted(float(entry.pop("begin")), Epoch(**entry.pop("epoch")))

        return rows.read_lines(self.path, parse, "epoch")


def counted_minutes(epochs: list[Counted]) -> float:
    """Return the minutes from the begin to the last epoch's end, added over all calls."""
    ends: dict[float, float] = {}
    for counted in epochs:
        epoch = counted.epoch
        ends[counted.begin] = max(ends.get(counted.begin, 0.0), epoch.began + epoch.seconds + epoch.image_seconds)
    return sum(end - begin for begin, end in ends.items()) / 60
