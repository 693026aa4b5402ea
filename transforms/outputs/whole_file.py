"""Files that are there whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, with the same ending; it becomes `path` when the block ends without error."""
    part = path.with_name("part-" + path.name)
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
