"""All files below a folder, also behind links to other folders, and links that lead nowhere."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

from transforms.errors import UserError


def files_below(folder: Path) -> list[Path]:
    """Regular files, links to such, and links that lead nowhere, sorted; hidden files and folders are left out.

    Links to folders are followed, after all that is not behind a link; a folder is entered once, so that links in
    circles end. Of a link whose content was not fetched (git-annex, DVC), who reads it will say so.

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
    """The path without links; links in circles, by which `Path.resolve` fails, stay as they are."""
    return Path(os.path.realpath(path))


def leads_nowhere(path: Path) -> bool:
    """Whether a path is a link whose target is not there."""
    return path.is_symlink() and not path.exists()


def check_there(path: Path) -> None:
    """Refuse what is no file.

    Raises:
        UserError: it does not exist, or is a link that leads nowhere.
    """
    if leads_nowhere(path):
        raise UserError(
            f"{path}: a link that leads nowhere; fetch its content (as with git annex get or dvc pull), or remove it"
        )
    if not path.is_file():
        raise UserError(f"{path}: no such file")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from None
