"""Files below a folder, links included, and broken links; selection of possible images."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from transforms.errors import UserError

NOT_IMAGES = (".json", ".geojson", ".csv", ".txt", ".md", ".xml", ".xls", ".xlsx", ".zip", ".pdf", ".html")
"""Endings of files that commonly accompany images; they are skipped."""


def image_candidates(path: Path, but_not_in: Sequence[Path] = ()) -> list[Path]:
    """Files below a folder, or the one file, that may be images by their names; see `files_below`.

    Args:
        but_not_in: subfolders to leave out, such as that of earlier results.

    Raises:
        UserError: a folder that cannot be read.
    """
    root = real_path(path)
    others = {real_path(other) for other in but_not_in if root in real_path(other).parents}
    files = [file for file in ([path] if path.is_file() else files_below(path)) if _may_be_image(file.name.lower())]
    return [file for file in files if others.isdisjoint(real_path(file).parents)] if others else files


def _may_be_image(name: str) -> bool:
    return not name.startswith(".") and name != "dicomdir" and not name.endswith(NOT_IMAGES)


def files_below(folder: Path) -> list[Path]:
    """Regular files, links to files, and broken links, sorted; hidden files and folders are left out.

    Links to folders are followed after all other folders. A folder is entered only once, so that circular links end. A
    link whose content was not fetched (git-annex, DVC) is listed, and refused when it is read.

    Raises:
        UserError: a folder that cannot be read.
    """
    files: list[Path] = []
    entered: set[tuple[int, int]] = set()
    real, linked = deque([folder]), deque[Path]()
    while real or linked:
        here = real.popleft() if real else linked.popleft()
        state = here.stat()
        if (state.st_dev, state.st_ino) in entered:
            continue
        entered.add((state.st_dev, state.st_ino))
        for entry in _entries(here):
            path = here / entry.name
            if path.is_dir():
                (linked if entry.is_symlink() else real).append(path)
            elif path.is_file() or leads_nowhere(path):
                files.append(path)
    return sorted(files)


def real_path(path: Path) -> Path:
    """The path without links; circular links, for which `Path.resolve` fails, are kept."""
    return Path(os.path.realpath(path))


def leads_nowhere(path: Path) -> bool:
    """Whether a path is a broken link."""
    return os.path.islink(path) and not os.path.exists(path)


def check_there(path: Path) -> None:
    """Refuse a path that is not a file.

    Raises:
        UserError: the path does not exist, is no file, or is a broken link.
    """
    if leads_nowhere(path):
        raise UserError(f"{path}: a broken link; fetch its content (as with git annex get or dvc pull), or remove it")
    if not os.path.isfile(path):  # False also for a name that no file can have
        raise UserError(f"{path}: no such file")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from None
