"""Comparison of installed packages with the required ranges and the tested versions."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from engines.base.paths import code_root

PROJECT = "mammoseg"
SHOWN = ("torch", "monai", "mlflow", "pydicom")


def python() -> tuple[str, bool]:
    """Return this Python's version, and whether the project supports it."""
    wanted = SpecifierSet(metadata(PROJECT)["Requires-Python"] or "")
    text = platform.python_version()
    fits = wanted.contains(text, prereleases=True)
    return text if fits else f"{text}; expected {wanted}", fits


def packages() -> tuple[str, list[str], list[str]]:
    """Return a summary of installed packages, the missing or incompatible ones, and those in an untested version."""
    pins, problems, others, shown = pinned(), [], [], []
    for requirement in map(Requirement, requires(PROJECT) or []):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = requirement.name
        try:
            found = version(name)
        except PackageNotFoundError:
            problems.append(f"{name} is missing")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            problems.append(f"{name} {found}; expected {requirement.specifier}")
        elif found.split("+")[0] != pins.get(name, found.split("+")[0]):
            others.append(f"{name} {found} (tested: {pins[name]})")
        if name in SHOWN:
            shown.append(f"{name} {found}")
    text = f"{PROJECT} {version(PROJECT)}; {', '.join(shown)}"
    return text + (f"; not the tested version: {', '.join(others)}" if others else "; as tested"), problems, others


def pinned() -> dict[str, str]:
    """Return the versions of constraints.txt that apply to this Python; empty without that file."""
    path = code_root() / "constraints.txt"
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        requirement = Requirement(line) if re.match(r"\w", line) else None
        if requirement is not None and (requirement.marker is None or requirement.marker.evaluate()):
            found[requirement.name] = str(requirement.specifier).removeprefix("==")
    return found
