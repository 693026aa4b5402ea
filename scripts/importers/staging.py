"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from transforms.errors import UserError

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be deleted: the open file itself is the lock
    fcntl = None  # type: ignore[assignment]

_LOCK = "in_use"


@contextmanager
def staged_folder(out: Path, overwrite: bool, sources: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Give a hidden empty folder beside `out`, and rename it to `out` when the block ends without an error.

    What an error, Ctrl-C or `kill -9` leaves behind is removed at once or by the next call for the same `out`.

    Raises:
        UserError: `out` is not empty and may not be replaced, or holds or is one of the `sources`.
    """
    out = out.absolute()
    check_output(out, overwrite, sources)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(out)
        stage = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); choose another output folder") from None
    lock = _lock(stage)
    try:
        yield stage
        (stage / _LOCK).unlink(missing_ok=True) if fcntl else None
        lock.close()
        (stage / _LOCK).unlink(missing_ok=True)
        stage.chmod(0o777 & ~_umask())
        _replace(stage, out, overwrite)
    except BaseException:
        lock.close()
        shutil.rmtree(stage, ignore_errors=True)
        raise


def check_output(out: Path, overwrite: bool, sources: tuple[Path, ...] = ()) -> None:
    """Refuse an `out` that would lose something, before any work is done."""
    resolved = out.resolve()
    for source in sources:
        if resolved == source.resolve() or resolved in source.resolve().parents:
            raise UserError(f"{out}: holds the source {source}; choose another output folder")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise UserError(f"{out}: exists and is not empty; choose another folder, or say --overwrite")
    if not (out / "dataset.json").is_file():
        raise UserError(f"{out}: is not a dataset folder (no dataset.json), so --overwrite will not replace it")


def _replace(stage: Path, out: Path, overwrite: bool) -> None:
    check_output(out, overwrite)  # once more: another run may have finished meanwhile
    old = None
    if out.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
        out.rename(old / "old")
    try:
        stage.rename(out)
    except OSError:
        if old is not None:
            (old / "old").rename(out)
        raise
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _lock(stage: Path) -> IO[str]:
    """An open, locked file that says the folder is in use; the system lets go of it even after `kill -9`."""
    handle = (stage / _LOCK).open("w")
    if fcntl:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle


def _remove_stale(out: Path) -> None:
    for stage in out.parent.glob(f".{_escaped(out.name)}.partial-*"):
        try:
            with (stage / _LOCK).open("r+") as handle:
                if fcntl:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (stage / _LOCK).unlink()
        except FileNotFoundError:
            pass  # killed before it was locked, or while it was removed
        except OSError:
            continue  # another run is at work in it
        shutil.rmtree(stage, ignore_errors=True)


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
