"""A lock on a folder for one writing process. The system releases it when the process ends, even by kill -9.

On a disk shared by several machines, a system lock may be invisible to the others. The lock file therefore also records
the holder, and a record of another machine is believed until the user overrides it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from weakref import WeakSet

from transforms.errors import UserError
from transforms.processes import Identity

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be deleted: the open file itself is the lock
    fcntl = None  # type: ignore[assignment]

NAME = ".in_use"
MOST_LEFT = 20
"""Maximum number of records of processes that were killed one after the other."""
_OPEN: WeakSet[IO[str]] = WeakSet()


def _close_copies() -> None:
    for handle in _OPEN:
        handle.close()


if hasattr(os, "register_at_fork"):  # a worker process that outlives its parent would keep the parent's lock
    os.register_at_fork(after_in_child=_close_copies)
BUSY = {errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK}


@dataclass
class Lock:
    """A lock, from its holder's point of view.

    Attributes:
        token: unique to this lock.
        left: record of a process that ended without releasing the lock, if it ran on this machine with this folder and
            certainly no longer exists; else None. Its entry "left" has the records of processes that ended before it
            and that it had not dealt with.
        settled: whether this process has dealt with these records. If it is interrupted before, they stay on record.
    """

    token: str
    left: Mapping[str, Any] | None = None
    settled: bool = False


def claim(path: Path) -> IO[str] | None:
    """Return an open, locked file that marks something as in use; None if another process has it or locking fails.

    Close it to release it. Its content is kept, except on Windows, where the file is created again.
    """
    try:
        return _claim(path)
    except OSError:
        return None


def _claim(path: Path) -> IO[str] | None:
    """Like `claim`, but raise OSError if locking fails."""
    if not fcntl:
        try:
            path.unlink(missing_ok=True)  # fails while another process has it open
        except PermissionError:
            return None
    try:
        handle = path.open("a+" if fcntl else "x+", encoding="utf-8")
    except FileExistsError:  # another process has created it since
        return None
    _OPEN.add(handle)
    try:
        if fcntl:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(path.stat(), os.fstat(handle.fileno())):
                raise OSError(errno.EAGAIN, "removed meanwhile")
    except OSError as error:
        handle.close()
        if error.errno in BUSY or isinstance(error, FileNotFoundError):
            return None
        raise
    return handle


@contextmanager
def locked(
    folder: Path,
    task: str,
    option: str,
    force: bool = False,
    about: Mapping[str, Any] | None = None,
    remedy: str = "--force true",
) -> Iterator[Lock]:
    """Lock a folder, created if missing, for this process; folders created for it are removed again if still empty.

    Args:
        folder: what to lock.
        task: purpose, such as "training".
        option: option by which the user chooses another folder.
        force: lock the folder although its record is from another machine.
        about: further entries of the record.
        remedy: advice for the record of a process whose state is unknown.

    Raises:
        UserError: another process uses the folder, or may use it; or the folder cannot be written to.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = _read(path)
        handle, works = claim_if_locks(path)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written to ({error.strerror or error}); give another {option}") from None
    lock = Lock(os.urandom(8).hex())
    try:
        _check(folder, before, handle is not None, works, (option, remedy), force)
        holder = Identity.of(before)
        gone = before is not None and holder is not None and _is_of(before, folder) and holder.is_alive() is False
        lock.left = before if gone else None
        if handle is not None:
            more = {"left": _chain(before)} if gone else {}  # until this process has dealt with them and ends
            about = {**(about or {}), "task": task, "folder": str(folder.resolve()), "token": lock.token, **more}
            _write(handle, about)
        yield lock
    except BaseException:
        if handle is not None and lock.left is not None and not lock.settled:
            _put_back(handle, lock.left)
        else:
            _release(path, handle, made)
        raise
    _release(path, handle, made)


def claim_if_locks(path: Path) -> tuple[IO[str] | None, bool]:
    """Return the file of `claim` and whether the file system supports locks; without them the file is only open.

    Raises:
        OSError: the file cannot be created.
    """
    try:
        return _claim(path), True
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL):
            raise
        return path.open("a+", encoding="utf-8"), False


def _check(
    folder: Path, before: Mapping[str, Any] | None, claimed: bool, works: bool, advice: tuple[str, str], force: bool
) -> None:
    """Raise UserError unless the folder is free, or nobody is known to hold it and `force` is given."""
    holder, (option, remedy) = Identity.of(before), advice
    if before is None or holder is None:
        if claimed or force:
            return
        raise UserError(f"{folder}: in use by another process; wait for it, stop it, or give another {option}")
    alive, same = holder.is_alive(), holder.same_system()
    running = alive is True and _is_of(before, folder)
    if claimed and not running and (same if works else alive is False):
        return  # the holder ended without releasing the lock
    certain = running or (same and works and not claimed)
    if force and not certain:
        return
    doubt = "" if certain else f"; if that process does not exist any more: {remedy}"
    task = str(before.get("task", "process"))
    raise UserError(
        f"{folder}: in use by {'an' if task[:1] in 'aeiou' else 'a'} {task} (process {holder.pid} on {holder.host}, "
        f"since {before.get('since')}); wait for it, stop it, or give another {option}{doubt}"
    )


def _chain(before: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return a record followed by the earlier records in it, at most `MOST_LEFT`."""
    if before is None:
        return []
    earlier = before.get("left")
    known = [one for one in earlier if isinstance(one, dict)] if isinstance(earlier, list) else []
    return [{name: value for name, value in before.items() if name != "left"}, *known][:MOST_LEFT]


def _is_of(record: Mapping[str, Any], folder: Path) -> bool:
    return bool(record.get("folder") == str(folder.resolve()))


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _write(handle: IO[str], about: Mapping[str, Any]) -> None:
    handle.seek(0)
    handle.truncate()
    json.dump({**about, **Identity.own().record(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}, handle)
    handle.flush()


def _put_back(handle: IO[str], left: Mapping[str, Any]) -> None:
    """Restore the record of the process that was killed before, for the next process to deal with."""
    with contextlib.suppress(OSError, ValueError), handle:
        handle.seek(0)
        handle.truncate()
        json.dump(left, handle)


def release(path: Path, handle: IO[str]) -> None:
    """Remove a file returned by `claim`, and let others claim it."""
    if fcntl:  # while locked: afterwards the file could be another process's
        path.unlink(missing_ok=True)
    handle.close()
    if not fcntl:
        with contextlib.suppress(PermissionError):  # another process has claimed it since
            path.unlink(missing_ok=True)


def _release(path: Path, handle: IO[str] | None, made: list[Path]) -> None:
    if handle is not None:
        try:
            if os.path.samestat(path.stat(), os.fstat(handle.fileno())):  # the folder may have been replaced
                release(path, handle)
        except OSError:
            pass
        finally:
            handle.close()
    for folder in made:
        try:
            folder.rmdir()
        except OSError:  # something was written to it
            return
