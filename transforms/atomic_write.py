"""Atomic file writes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transforms.processes import Identity

PREFIX = ".part-"
UNFINISHED = f"{PREFIX}*"
"""Names of the files that a killed process leaves behind."""
_CLEARED: set[Path] = set()
"""Folders that this process has already freed of them."""


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, with the same ending; it becomes `path` when the block ends without error.

    Its name is short, hidden, that of no other file, and says which process writes it. What processes that do not
    exist any more left unfinished in the same folder is removed.
    """
    if path.parent not in _CLEARED:
        _CLEARED.add(path.parent)
        clear_unfinished(path.parent)
    ending = "".join(path.suffixes[-2:])
    owner = Identity.own().brief()
    part = path.with_name(f"{PREFIX}{owner}-{secrets.token_hex(4)}{ending if len(ending) < 16 else path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def clear_unfinished(folder: Path) -> None:
    """Remove the unfinished files in a folder whose process certainly does not exist any more."""
    for left in folder.glob(UNFINISHED):
        if Identity.is_gone(left.name.removeprefix(PREFIX)):
            left.unlink(missing_ok=True)
