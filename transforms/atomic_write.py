"""Atomic file writes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transforms.processes import Identity

PREFIX = ".part-"
UNFINISHED = f"{PREFIX}*"
"""Glob pattern of the files that a killed process leaves behind."""
_CLEARED: set[Path] = set()
"""Folders from which this process has already removed such files."""


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with the same ending; rename it to `path` if the block ends without error.

    The temporary name is short, hidden and unique, and identifies the writing process. Unfinished files of processes
    that no longer exist are removed from the folder.
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
    """Remove the unfinished files in a folder whose process certainly no longer exists."""
    for left in folder.glob(UNFINISHED):
        if Identity.is_gone(left.name.removeprefix(PREFIX)):
            left.unlink(missing_ok=True)
