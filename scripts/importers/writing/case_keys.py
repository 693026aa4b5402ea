"""Keys of finished cases: an interrupted import reuses a case if code, settings and files are the same."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections import Counter
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Any

from scripts.importers.writing.cases import Case

_PACKAGES = ("numpy", "pydicom", "pillow", "nibabel", "itk-io", "python-gdcm", "pyjpegls", "pylibjpeg-openjpeg")


def case_keys(cases: Iterable[Case], settings: Any) -> list[str | None]:
    """Return a key per case that is equal in another run if and only if its result is; None if that cannot be known.

    It covers the case's functions with all their arguments, size and modification time of every file named in them, the
    settings, and the code. Two identical cases get different keys.
    """
    seen: Counter[str] = Counter()
    keys: list[str | None] = []
    for case in cases:
        key = _key(case, settings)
        if key is not None:
            seen[key] += 1
            key = f"{key}-{seen[key]}"
        keys.append(key)
    return keys


def _key(case: Case, settings: Any) -> str | None:
    stream = io.BytesIO()
    try:
        _Pickler(stream, case.tally).dump((code_version(), settings, case))
    except (pickle.PicklingError, AttributeError, TypeError):  # a lambda; never in this project's importers
        return None
    return hashlib.sha256(stream.getvalue()).hexdigest()[:32]


class _Pickler(pickle.Pickler):
    """Pickler that writes files as path, size and modification time, and omits the counts so far."""

    def __init__(self, stream: io.BytesIO, tally: object) -> None:
        super().__init__(stream, protocol=4)
        self._tally = tally

    def persistent_id(self, thing: Any) -> Any:
        if thing is self._tally and thing is not None:
            return "tally"
        if isinstance(thing, PurePath):
            return _state(Path(thing))
        return None


def _state(path: Path) -> str:
    try:
        state = path.stat()
    except OSError:
        return f"{path} absent"
    return f"{path} {state.st_size} {state.st_mtime_ns}"


@cache
def code_version() -> str:
    """Return the SHA-256 of the source files that convert files to arrays, and of the versions of their libraries."""
    root = Path(__file__).resolve().parents[3]
    digest = hashlib.sha256()
    reading = [*(root / "transforms").glob("*.py"), *(root / "transforms" / "reading").glob("*.py")]
    for path in sorted([*reading, *(root / "scripts" / "importers").rglob("*.py")]):
        digest.update(path.read_bytes())
    for name in _PACKAGES:
        digest.update(f"{name} {_version(name)} ".encode())
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
