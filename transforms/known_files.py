"""Cache of what was read of a dataset folder's arrays, kept between runs.

A hundred thousand mammograms are a terabyte: reading them at every start, for their digests and label values, would
take hours. A file counts as known while its size, modification time, change time and inode equal those at which an
earlier run of this user read it. The system sets the change time at every write, even if a program restores the
modification time.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.atomic_write import atomic_file
from transforms.digests import array_sha256
from transforms.npy import open_array, values_of

HEADER, DIGEST, VALUES = 1, 2, 4
"""Kinds of known properties of a file: type and shape; SHA-256; the values of a label map."""
VARIABLE = "MAMMOSEG_CACHE_DIR"
SETTLED = 10.0
"""Seconds for which a file must be unchanged before it is read: a later change could leave the same times."""
FORGOTTEN = 90 * 86400.0
"""Seconds after which an unused cache file is removed."""
CHUNK = 1024
THREADS = 4
SAVE_EVERY = 60.0
_VERSION = 1
_COLUMNS = {"times": (np.int64, 4), "shape": (np.int32, 3), "sha256": (np.uint8, 32), "values": (np.uint8, 32)}


def cache_folder() -> Path | None:
    """Cache folder: `MAMMOSEG_CACHE_DIR`, else `mammoseg` in the user's cache folder; None disables the cache."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named) if named else None
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mammoseg"
    except RuntimeError:  # no home
        return None


class KnownFiles:
    """The files of one dataset folder, by their names relative to it.

    Args:
        root: the dataset folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._index: dict[str, int] = {}
        self._table: dict[str, NDArray[Any]] = {name: np.zeros((0, n), kind) for name, (kind, n) in _COLUMNS.items()}
        self._known = np.zeros(0, np.uint8)
        self._kinds: list[str] = []
        self._kind = np.zeros(0, np.uint8)
        self._compared, self._recent = np.zeros(0, bool), np.zeros(0, bool)
        self._read = self._loaded = False
        self._saved = time.monotonic()

    def __reduce__(self) -> tuple[Any, ...]:
        return KnownFiles, (self.root,)

    def names(self, paths: Sequence[str]) -> list[str]:
        """Names relative to the folder, for paths that begin with it."""
        root = len(os.path.join(self.root, ""))
        return [path[root:] for path in paths]

    @contextmanager
    def reading(self, total: int, about: str) -> Iterator[Callable[[int], Any]]:
        """Show progress after two seconds, and save what was read, also after an interruption.

        Yields a function to call with each number of finished items.
        """
        try:
            from tqdm.auto import tqdm  # slow to import: only if files are read

            with tqdm(total=total, desc=about, delay=2, leave=False, unit="file") as bar:
                yield bar.update
        finally:
            self._save()

    def look(self, names: Sequence[str], need: int, again: bool = False, fresh: bool = False) -> NDArray[np.int64]:
        """Read what is not yet known of files; return their row numbers for the methods below.

        Args:
            names: file names relative to the folder.
            need: sum of HEADER, DIGEST and VALUES.
            again: read the files even if they are known.
            fresh: compare times again, also of files that this object has compared before.

        Raises:
            UserError: a file is missing or broken.
        """
        rows = self._rows(names)
        self._compare(names, rows, fresh or again)
        if again:
            self._known[rows] = 0
        wanted = np.flatnonzero(self._known[rows] & need != need)
        with ThreadPoolExecutor(THREADS) as pool:
            for position, found in zip(wanted, pool.map(lambda i: self._look(names[i], need), wanted), strict=True):
                self._put(int(rows[position]), need, *found)
        if time.monotonic() - self._saved > SAVE_EVERY:
            self._save()
        return rows

    def size_and_time(self, rows: NDArray[np.int64]) -> list[list[int]]:
        """[bytes, modification time in ns] of each file."""
        found: list[list[int]] = self._table["times"][rows, :2].tolist()
        return found

    def headers(self, rows: NDArray[np.int64]) -> list[tuple[str, tuple[int, ...]]]:
        """(type, shape) of each array."""
        kinds, shapes = self._kind[rows].tolist(), self._table["shape"][rows].tolist()
        return [(self._kinds[k], tuple(s if s[2] else s[:2])) for k, s in zip(kinds, shapes, strict=True)]

    def digests(self, rows: NDArray[np.int64]) -> list[str]:
        """SHA-256 of each array, see `array_sha256`."""
        text = self._table["sha256"][rows].tobytes().hex()
        return [text[first : first + 64] for first in range(0, len(text), 64)]

    def values(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Mask (files, 256) of the values in each label map; all False for an array that is not uint8."""
        return np.unpackbits(self._table["values"][rows], axis=1).astype(bool)

    # -- reading -----------------------------------------------------------------------------------------------

    def _rows(self, names: Sequence[str]) -> NDArray[np.int64]:
        if not self._loaded:
            self._load()
        index = self._index
        rows = np.array([index.setdefault(name, len(index)) for name in names], np.int64)
        more = len(index) - len(self._known)
        if more:
            self._table = {name: np.pad(column, [(0, more), (0, 0)]) for name, column in self._table.items()}
            self._known, self._kind = np.pad(self._known, (0, more)), np.pad(self._kind, (0, more))
            self._compared, self._recent = np.pad(self._compared, (0, more)), np.pad(self._recent, (0, more))
        return rows

    def _compare(self, names: Sequence[str], rows: NDArray[np.int64], fresh: bool) -> None:
        """Discard the cached properties of files that have changed."""
        positions = range(len(rows)) if fresh else np.flatnonzero(~self._compared[rows]).tolist()
        root = os.path.join(self.root, "")
        found = np.array([_times(root + names[i]) for i in positions], np.int64).reshape(-1, 4)
        asked = rows[positions]
        changed = (self._table["times"][asked] != found).any(axis=1)
        self._known[asked[changed]] = 0
        self._table["times"][asked] = found
        self._recent[asked] = found[:, 1:3].max(axis=1, initial=0) > (time.time() - SETTLED) * 1e9
        self._compared[asked] = True

    def _look(self, name: str, need: int) -> tuple[str, tuple[int, ...], str, NDArray[np.bool_] | None]:
        array = open_array(self.root / name)
        digest = array_sha256(array) if need & DIGEST else ""
        values = values_of(array) if need & VALUES and array.dtype == np.uint8 and array.ndim == 2 else None
        return str(array.dtype), array.shape, digest, values

    def _put(
        self, row: int, need: int, kind: str, shape: tuple[int, ...], digest: str, values: NDArray[np.bool_] | None
    ) -> None:
        if kind not in self._kinds:
            self._kinds.append(kind)
        self._kind[row] = self._kinds.index(kind)
        self._table["shape"][row] = (*shape, 0)[:3]
        if digest:
            self._table["sha256"][row] = np.frombuffer(bytes.fromhex(digest), np.uint8)
        if need & VALUES:
            self._table["values"][row] = 0 if values is None else np.packbits(values)
        self._known[row] |= need | HEADER
        self._read = True

    # -- keeping -----------------------------------------------------------------------------------------------

    def _file(self) -> Path | None:
        folder = cache_folder()
        name = hashlib.sha256(os.fsencode(os.path.abspath(self.root))).hexdigest()[:32]
        return None if folder is None else folder / "files" / f"{name}.npz"

    def _load(self) -> None:
        self._loaded, path = True, self._file()
        if path is None:
            return
        try:
            with np.load(path, allow_pickle=False) as kept:
                if int(kept["version"]) != _VERSION:
                    return
                names, kinds = (kept[key].tobytes().decode().split("\0") for key in ("names", "kinds"))
                table = {name: np.asarray(kept[name], kind) for name, (kind, _) in _COLUMNS.items()}
                known, kind = np.asarray(kept["known"], np.uint8), np.asarray(kept["kind"], np.uint8)
            os.utime(path)
        except Exception:  # NumPy raises many kinds on damaged files
            return
        shapes = [(len(names), n) for _, n in _COLUMNS.values()]
        whole = [column.shape for column in table.values()] == shapes and known.shape == kind.shape == (len(names),)
        if whole and len(set(names)) == len(names) and (kind < len(kinds)).all():
            self._index = {name: number for number, name in enumerate(names)}
            self._table, self._known, self._kinds, self._kind = table, known, kinds, kind
            self._compared, self._recent = np.zeros(len(names), bool), np.zeros(len(names), bool)

    def _save(self) -> None:
        """Save what is known of files that had been unchanged for a while; do nothing without a cache folder."""
        self._saved, path = time.monotonic(), self._file()
        if path is None or not self._read:
            return
        self._read = False
        content: dict[str, Any] = {
            "version": np.array(_VERSION),
            "names": np.frombuffer("\0".join(self._index).encode(), np.uint8),
            "kinds": np.frombuffer("\0".join(self._kinds).encode(), np.uint8),
            "known": np.where(self._recent, 0, self._known).astype(np.uint8),
            "kind": self._kind,
            **self._table,
        }
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with atomic_file(path) as part:
                np.savez(part, **content)
            _forget(path.parent)
        except OSError:
            pass


def _forget(folder: Path) -> None:
    for path in folder.glob("*.npz"):
        if time.time() - path.stat().st_mtime > FORGOTTEN:
            path.unlink(missing_ok=True)


def _times(path: str) -> tuple[int, int, int, int]:
    """Size, modification time and change time in ns, and inode; zeros for an inaccessible file."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return 0, 0, 0, 0
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino & 0x7FFFFFFFFFFFFFFF
