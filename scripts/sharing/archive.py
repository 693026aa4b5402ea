"""Checksums, and a zip whose bytes depend only on its content."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from transforms.atomic_write import atomic_file
from transforms.digests import file_sha256
from transforms.errors import UserError

LARGE = 25 * 1024 * 1024
"""Size in bytes above which the model zoo stores a file outside its repository."""

SYSTEM = ("/usr/local", "/opt/conda", "/var/lib")
"""Folders that many machines have, and that do not identify a user."""

SUMS = "SHA256SUMS"
LARGE_FILES = "large_files.yml"
_LARGE_FILES_NOTE = """\
# Files larger than 25 MB. This zip contains them: `python -m monai.bundle download_large_files` finds each file with
# this checksum and downloads nothing. To store the bundle without these files, as the model zoo does, enter the
# download address of each as its url.
"""


def files_in(folder: Path) -> list[Path]:
    """Return all files below a folder, in the order of the zip."""
    return sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.relative_to(folder).as_posix())


def write_large_files(folder: Path, limit: int | None = None) -> list[str]:
    """Write large_files.yml in MONAI's format if files are larger than `limit` bytes; return their names."""
    large = [path for path in files_in(folder) if path.stat().st_size > (LARGE if limit is None else limit)]
    if large:
        entries = [
            f'- path: "{path.relative_to(folder).as_posix()}"\n  url: ""\n  hash_val: "{file_sha256(path)}"\n'
            '  hash_type: "sha256"\n'
            for path in large
        ]
        _write(folder / LARGE_FILES, _LARGE_FILES_NOTE + "large_files:\n" + "".join(entries))
    return [path.relative_to(folder).as_posix() for path in large]


def write_sums(folder: Path) -> None:
    """Write the SHA-256 of every other file, in the format of `sha256sum --check`."""
    lines = [f"{file_sha256(p)}  {p.relative_to(folder).as_posix()}\n" for p in files_in(folder) if p.name != SUMS]
    _write(folder / SUMS, "".join(lines))


def write_zip(folder: Path, out: Path) -> None:
    """Zip a folder under its own name, with sorted names, no times and fixed permissions, uncompressed.

    Weights hardly compress, and uncompressed bytes do not depend on the version of zlib.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(out) as part, zipfile.ZipFile(part, "w") as archive:
        for path in files_in(folder):
            info = zipfile.ZipInfo(f"{folder.name}/{path.relative_to(folder).as_posix()}")
            info.create_system, info.external_attr = 3, 0o100644 << 16
            big = path.stat().st_size > 2**31 - 1
            with path.open("rb") as source, archive.open(info, "w", force_zip64=big) as target:
                shutil.copyfileobj(source, target, 1 << 20)


def refuse_traces(folder: Path, paths: Iterable[Path]) -> None:
    """Refuse to share files that contain the path of a folder of this machine.

    Raises:
        UserError: a file contains such a path; the message names the first one.
    """
    texts = {text for path in paths for text in _spellings(path)}
    for path in files_in(folder):
        content = path.read_bytes()
        for text in texts:
            if text in content:
                found = text.decode("utf-8", "replace")
                raise UserError(f"{path.relative_to(folder).as_posix()}: contains the path {found}; not shared")


def _spellings(place: Path) -> list[bytes]:
    """Return the possible spellings of a folder.

    There are none for top-level folders such as /usr or /data, which do not identify a user and occur in every archive
    (archive/data/0).
    """
    absolute = place.absolute()
    if len(absolute.parts) < 3 or absolute.as_posix() in SYSTEM:
        return []
    return [f"{text}{end}".encode() for text in {str(absolute), absolute.as_posix()} for end in ("/", "\\")]


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
