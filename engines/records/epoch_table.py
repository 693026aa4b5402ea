"""The table eval/epochs.csv of a running training: a row is appended without rewriting the earlier ones."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from engines.base.world import is_main
from engines.records.tables import read_epochs, write_csv


class EpochTable:
    """One row per epoch. Written as a whole, atomically, at first and whenever a new row cannot simply be appended.

    Appending a row is one write. If a kill or a full disk leaves half of it, `read_epochs` drops it: the epoch was not
    saved either, and is repeated.

    Args:
        path: path of the file, created on the first write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fields: list[str] = []
        self._epochs: set[tuple[str, str]] = set()
        self._left: tuple[int, int] | None = None

    def put(self, row: Mapping[str, str]) -> None:
        """Add a row with at least "stage" and "epoch"; one of the same epoch is replaced, for a resumed training.

        Raises:
            UserError: the file is no longer such a table.
        """
        if not is_main():
            return
        epoch = (row["stage"], row["epoch"])
        follows = epoch not in self._epochs and set(row) <= set(self._fields)
        if follows and self._left is not None and self._left == _state(self.path):
            line = io.StringIO(newline="")
            csv.writer(line).writerow([row.get(name, "") for name in self._fields])
            with self.path.open("ab") as file:
                file.write(line.getvalue().encode())
            self._epochs.add(epoch)
        else:
            rows = [other for other in read_epochs(self.path) if (other["stage"], other["epoch"]) != epoch]
            rows.append(dict(row))
            write_csv(self.path, rows)
            self._fields = list(dict.fromkeys(name for one in rows for name in one))
            self._epochs = {(one["stage"], one["epoch"]) for one in rows}
        self._left = _state(self.path)


def _state(path: Path) -> tuple[int, int] | None:
    """Return size and time of the last change, which reveal changes by others."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
