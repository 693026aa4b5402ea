"""Atomic file writes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNFINISHED = ".part-*"
"""Names of the files that a killed process leaves behind."""


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, with the same ending; it becomes `path` when the block ends without error.

    Its name is short, hidden, and that of no other file.
    """
    ending = "".join(path.suffixes[-2:])
    part = path.with_name(f".part-{secrets.token_hex(8)}{ending if len(ending) < 16 else path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
