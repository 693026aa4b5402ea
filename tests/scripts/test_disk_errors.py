"""Errors of a disk end a command with one line that names the place and what to do."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest

from scripts.bundlewriter import new
from scripts.commandline import disk_error

ROOM = f"free space on the disk, and on that of the temporary folder {tempfile.gettempdir()}"
FULL = os.strerror(errno.ENOSPC)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError("12288 requested and 6080 written"), f"{FULL}; {ROOM}"),
        (OSError(errno.ENOSPC, FULL), f"{FULL}; {ROOM}"),
        (OSError(errno.ENOSPC, FULL, "model.pt", None, "copy.pt"), f"copy.pt: {FULL}; {ROOM}"),
        (
            PermissionError(errno.EACCES, "Permission denied", "a"),
            "a: Permission denied; check the disk and the permissions",
        ),
        (FileNotFoundError(errno.ENOENT, "gone", "a", None, "b"), "a: gone; check the disk and the permissions"),
        (OSError("odd"), "odd; check the disk and the permissions"),
    ],
)
def test_the_place_and_what_to_do(error: OSError, text: str) -> None:
    assert disk_error(error) == text


def test_a_bundle_that_cannot_be_made_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *args: object, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match="Read-only file system"):
        new.make_bundle(tmp_path, "mine", "nets.FCN", [])
