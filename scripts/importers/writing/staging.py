"""Atomic creation of a folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from engines.base.lock import claim, claim_if_locks
from transforms.errors import UserError
from transforms.reading.find_files import leads_nowhere, real_path

_LOCK = "in_use"
_NEW = "new"
_OLD = "old"
_MADE = {"dataset.json", "images", "labels", "row_counts", "folds.csv", "source", "README.txt"}
"""Entries that imports and the sample write."""
_TRIES = 100
"""Another run may mistake a new folder for that of a dead run, between its creation and its lock."""
LATE_SECONDS = 60.0  # more work than this is worth keeping in case of an error


@contextmanager
def staged_folder(
    out: Path, overwrite: bool, sources: tuple[Path, ...] = (), keep: str | None = None
) -> Iterator[Path]:
    """Yield a hidden empty folder beside `out`, and rename it to `out` when the block ends without an error.

    Remains of an error, Ctrl-C or `kill -9` are removed at once or by the next call for the same `out`, except the
    subfolder named `keep`: after an interruption or a late error, the next call finds it in its folder. It is removed
    before the folder becomes `out`.

    Raises:
        UserError: `out` is not empty and must not be replaced, or contains or is one of the `sources`.
    """
    out = out.absolute()
    check_output(out, overwrite, sources)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        stage, lock = _claim_stages(out, keep) or _new_stage(out)
        new = stage / _NEW
        new.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); choose another output folder") from None
    start = time.monotonic()
    try:
        yield new
        if keep is not None:
            shutil.rmtree(new / keep, ignore_errors=True)
        _replace(new, out, overwrite)
    except BaseException as error:
        late = not isinstance(error, Exception) or time.monotonic() - start > LATE_SECONDS
        kept = [] if keep is None or not late else list((new / keep).glob("[!.]*.json"))
        if kept:
            _clear(new, keep)
            print(f"{len(kept)} finished images are kept in {stage} for the next run", file=sys.stderr)
        if kept or (stage / _OLD).exists():
            lock.close()
        else:
            _remove(stage, lock)
        raise
    _remove(stage, lock)


def check_output(out: Path, overwrite: bool, sources: tuple[Path, ...] = ()) -> None:
    """Refuse an `out` in which data would be lost, before any work is done."""
    resolved = out.resolve()
    for source in sources:
        if resolved in (real_path(source), *real_path(source).parents):
            raise UserError(f"{out}: holds the source {source}; choose another output folder")
    if os.path.ismount(out):
        raise UserError(f"{out}: is a mounted disk, and a finished folder is renamed to OUT; specify a folder in it")
    if leads_nowhere(out):
        raise UserError(f"{out}: a broken link; remove it, or choose another output folder")
    _bring_back(out)
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise UserError(f"{out}: exists and is not empty; choose another folder, or specify --overwrite")
    if not (out / "dataset.json").is_file():
        raise UserError(f"{out}: is not a dataset folder (no dataset.json), so --overwrite will not replace it")
    others = sorted(entry.name for entry in out.iterdir() if entry.name not in _MADE and entry.name[0] != ".")
    if others:
        raise UserError(
            f"{out}: also holds {', '.join(others[:3])}{' …' if len(others) > 3 else ''}, which no import wrote, so "
            "--overwrite will not replace it; move that away"
        )


def _bring_back(out: Path) -> None:
    """Restore a data set that a run was replacing when it was killed, see `_replace`."""
    for stage in out.parent.glob(f".{_escaped(out.name)}.partial-*"):
        if out.exists() or not (stage / _OLD / "dataset.json").is_file():
            continue
        with contextlib.suppress(OSError):  # on a disk that is not writable
            lock, _ = claim_if_locks(stage / _LOCK)
            if lock is not None:  # else that run is alive
                (stage / _OLD).rename(out)
                lock.close()


def _replace(new: Path, out: Path, overwrite: bool) -> None:
    check_output(out, overwrite)  # again: another run may have finished in the meantime
    old = new.parent / _OLD
    try:
        if out.exists() and (overwrite or out.is_symlink()):
            out.rename(old)
        elif out.exists():
            out.rmdir()  # empty, or by now that of another run, in which case it is kept
        new.rename(out)
    except OSError:
        if not out.exists() and old.exists():
            old.rename(out)
        elif not overwrite:
            check_output(out, overwrite=False)
        raise
    if not old.is_symlink():  # a link's target, a data set elsewhere, is kept
        (old / "dataset.json").unlink(missing_ok=True)  # so that its remains after a kill are not restored


def _remove(stage: Path, lock: IO[str]) -> None:
    shutil.rmtree(stage, ignore_errors=True)  # while it is claimed: the run that has just created it may claim it next
    lock.close()
    if os.name == "nt":  # where an open file cannot be removed
        shutil.rmtree(stage, ignore_errors=True)


def _new_stage(out: Path) -> tuple[Path, IO[str]]:
    for _ in range(_TRIES):
        stage = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
        try:
            lock, _ = claim_if_locks(stage / _LOCK)
        except FileNotFoundError:  # mistaken for that of a dead run, and removed
            lock = None
        if lock is not None:
            return stage, lock
    raise OSError(0, "other runs took its folder; start again", str(out))


def _claim_stages(out: Path, keep: str | None) -> tuple[Path, IO[str]] | None:
    """Remove the remains of dead runs for `out`; claim the one whose subfolder `keep` has most finished images."""
    found = {stage: _finished(stage, keep) for stage in out.parent.glob(f".{_escaped(out.name)}.partial-*")}
    taken: tuple[Path, IO[str]] | None = None
    for stage in sorted(found, key=lambda stage: -found[stage]):
        lock = claim(stage / _LOCK)
        if lock is None:
            continue  # another run is working in it
        if taken is None and found[stage]:
            _clear(stage / _NEW, keep)
            taken = stage, lock
        else:
            _remove(stage, lock)
    return taken


def _finished(stage: Path, keep: str | None) -> int:
    return 0 if keep is None else sum(1 for _ in (stage / _NEW / keep).glob("[!.]*.json"))


def _clear(new: Path, keep: str | None) -> None:
    """Remove everything but the subfolder `keep`."""
    for entry in new.iterdir():
        if entry.name != keep:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
