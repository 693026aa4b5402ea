"""Paths derived from the location of the code, never from the working directory."""

from __future__ import annotations

from pathlib import Path

from transforms.command_names import INSTALLED


def code_root() -> Path:
    """The folder of the packages: the repository's root, that of a shared bundle, or the installed `mammoseg`."""
    return Path(__file__).resolve().parents[2]


def is_installed() -> bool:
    """Whether this code is that of a wheel, inside the package `mammoseg`."""
    return INSTALLED


def project_root() -> Path:
    """Where results go by default: the repository's root, that of a shared bundle, or else the working directory."""
    beside = code_root()
    if not is_installed() and ((beside / "bundles").is_dir() or (beside / "configs").is_dir()):
        return beside
    return Path.cwd()


def bundle_root(name: str) -> str:
    """Where the bundle `name` has models/ and eval/ by default.

    That is bundles/<name> in the repository, the root itself in a shared bundle, and outputs/<name> of the working
    directory if the code is installed.
    """
    root = project_root()
    if is_installed():
        return str(root / "outputs" / name)
    return str(root / "bundles" / name if (root / "bundles").is_dir() else root)


def bundle_folders() -> list[Path]:
    """Folders of bundles: one's own in the working directory come first if the code is installed."""
    return [folder for folder in dict.fromkeys(root / "bundles" for root in (project_root(), code_root()))]


def bundle_folder(name: str) -> Path:
    """Folder of the bundle `name`, which need not exist."""
    found = [folder / name for folder in bundle_folders() if (folder / name).is_dir()]
    return found[0] if found else project_root() / "bundles" / name


def as_path(text: str | Path) -> Path:
    """The path a user gave in a config or override: MONAI turns every `#` of a config string into `::`."""
    path = Path(text)
    return path if path.exists() else Path(str(text).replace("::", "#"))
