"""Where things are, found from the code's own place and never from the working directory."""

from __future__ import annotations

from pathlib import Path


def project_root() -> Path:
    """The repository's root, the root of a shared bundle that carries this code, or else the working directory."""
    beside = Path(__file__).resolve().parents[2]
    if (beside / "bundles").is_dir() or (beside / "configs").is_dir():
        return beside
    return Path.cwd()


def bundle_root(name: str) -> str:
    """Folder of the bundle `name`: bundles/<name> in the repository, the root itself in a shared bundle."""
    root = project_root()
    return str(root / "bundles" / name if (root / "bundles").is_dir() else root)


def as_path(text: str | Path) -> Path:
    """The path a user gave in a config or override: MONAI turns every `#` of a config string into `::`."""
    path = Path(text)
    return path if path.exists() else Path(str(text).replace("::", "#"))
