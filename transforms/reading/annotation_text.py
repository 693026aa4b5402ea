"""Text of an annotation file, plain or compressed."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from pathlib import Path

from transforms.errors import UserError
from transforms.npy import not_readable
from transforms.reading import limits
from transforms.reading.find_files import check_there


def annotation_text(path: Path, most: int | None = None) -> bytes:
    """Content of a plain file, a gzip file, or the only file of a zip archive; the kind is detected by the first bytes.

    Args:
        most: limit of the content in bytes; None: `limits.ANNOTATION_BYTES`, for one image.

    Raises:
        UserError: no such file, damaged, several files in an archive, or above the limit.
    """
    check_there(path)
    most = limits.ANNOTATION_BYTES if most is None else most
    try:
        with path.open("rb") as file:
            head = file.read(4)
        if head == b"PK\x03\x04":
            content = _unzipped(path, most)
        elif head[:2] == b"\x1f\x8b":
            with gzip.open(path) as packed:
                content = packed.read(most + 1)
        else:
            with path.open("rb") as file:
                content = file.read(most + 1)
    except OSError as error:
        if error.errno is not None:
            raise not_readable(path, error) from None
        raise UserError(f"{path}: cannot be unpacked ({type(error).__name__}); copy it again") from None
    except (EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise UserError(f"{path}: cannot be unpacked ({type(error).__name__}); copy it again") from None
    if len(content) > most:
        what = "annotations of one image" if most == limits.ANNOTATION_BYTES else "annotations"
        raise UserError(f"{path}: more than {most >> 20} MB of {what}; simplify or split them")
    return content


def _unzipped(path: Path, most: int) -> bytes:
    with zipfile.ZipFile(path) as archive:
        names = [one for one in archive.infolist() if not one.is_dir() and not one.filename.startswith("__MACOSX/")]
        if len(names) != 1:
            raise UserError(f"{path}: a zip archive of {len(names)} files; expected one, so unpack it")
        with archive.open(names[0]) as packed:
            return packed.read(most + 1)
