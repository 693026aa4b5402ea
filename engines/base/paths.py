"""Paths derived from the location of the code, never from the working directory."""

from __future__ import annotations

import os
from pathlib import Path

from transforms.command_names import INSTALLED
from transforms.errors import UserError


def code_root() -> Path:
    """Return the folder of the packages: root of the repository or a shared bundle, or the installed `mammoseg`."""
    return Path(__file__).resolve().parents[2]


def is_installed() -> bool:
    """Return whether this code comes from a wheel, inside the package `mammoseg`."""
    return INSTALLED


def project_root() -> Path:
    """Return the default folder of results: root of the repository or a shared bundle, else the working directory."""
    beside = code_root()
    if not is_installed() and ((beside / "bundles").is_dir() or (beside / "configs").is_dir()):
        return beside
    return Path.cwd()


def bundle_root(name: str) -> str:
    """Return the default folder of models/ and eval/ of the bundle `name`.

    This is bundles/<name> in the repository, the root itself in a shared bundle, and outputs/<name> in the working
    directory if the code is installed.
    """
    root = project_root()
    if is_installed():
        return str(root / "outputs" / name)
    return str(root / "bundles" / name if (root / "bundles").is_dir() else root)


def bundle_folders() -> list[Path]:
    """Return the folders of bundles; if the code is installed, the working directory's comes first."""
    return [folder for folder in dict.fromkeys(root / "bundles" for root in (project_root(), code_root()))]


def bundle_folder(name: str) -> Path:
    """Return the folder of the bundle `name`, which need not exist."""
    found = [folder / name for folder in bundle_folders() if (folder / name).is_dir()]
    return found[0] if found else project_root() / "bundles" / name


def as_path(text: str | Path) -> Path:
    """Return the path that a user gave in a config or override: MONAI turns every `#` of a config string into `::`.

    Raises:
        UserError: it is a number or a list: MONAI parses an option such as 2024 or [a] as Python.
    """
    if not isinstance(text, (str, os.PathLike)):
        raise UserError(f"{text}: read as a {type(text).__name__}; expected a path; specify it as in ./{text}")
    path = Path(text)
    return path if path.exists() else Path(str(text).replace("::", "#"))
