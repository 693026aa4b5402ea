"""Copy of the code that a bundle needs to run without the repository."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("nets", "transforms", "engines")
"""Packages that are copied completely, since their modules import each other."""

ALSO = ("scripts.prepare",)
"""Modules that are copied in addition to those named in the configs, to prepare data sets for the bundle."""

ENDINGS = (".py", ".json")

INIT = '"""The commands of this bundle: `python -m scripts.prepare --help`."""\n'
"""Content of scripts/__init__.py, without which any other `scripts` package on the path would take precedence."""


def copy_code(root: Path, bundle: Path, target: Path) -> list[Path]:
    """Copy the packages, and modules of `scripts` that the bundle's configs and `ALSO` import; return Python files.

    Args:
        root: folder of the packages.
        bundle: folder of the bundle, whose configs/ are read.
        target: destination folder.
    """
    files = [path for package in PACKAGES for path in package_files(root / package)]
    files += sorted(imported_scripts(root, script_names(bundle / "configs")))
    copied = []
    for path in files:
        copy = target / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        copied.append(copy)
    (target / "scripts" / "__init__.py").write_text(INIT, encoding="utf-8", newline="\n")
    return [path for path in copied if path.suffix == ".py"]


def package_files(folder: Path) -> list[Path]:
    """Return source and schema files of a package, sorted."""
    paths = (path for path in folder.rglob("*") if path.suffix in ENDINGS and path.is_file())
    return sorted(p for p in paths if not any(part.startswith((".", "__pycache__")) for part in p.parts))


def script_names(configs: Path) -> set[str]:
    """Return the modules of `scripts` that a bundle's configs name, and `ALSO`."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(configs.glob("*.json"))]
    return {name for text in texts for name in re.findall(r"\bscripts\.\w+(?:\.\w+)*", text)} | set(ALSO)


def imported_scripts(root: Path, names: set[str]) -> set[Path]:
    """Return the files of modules of `scripts`, of modules that they import from it, and of their parent packages."""
    found: set[Path] = set()
    waiting = list(names)
    while waiting:
        path = _file_of(root, waiting.pop())
        if path is None or path in found:
            continue
        found.add(path)
        for folder in path.parents[: len(path.relative_to(root).parts) - 2]:  # its parent packages
            if (folder / "__init__.py").is_file():
                found.update([folder / "__init__.py", *folder.glob("*.json")])
        waiting += [name for name in imports(path) if name.startswith("scripts.")]
    return found


def imports(path: Path) -> Iterator[str]:
    """Yield dotted names that a file imports; `from a import b` gives a and a.b, as b may be a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _file_of(root: Path, name: str) -> Path | None:
    path = root.joinpath(*name.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)
