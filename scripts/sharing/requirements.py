"""Packages required by the copied code, in the installed versions."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

from scripts.sharing.code import PACKAGES, imports
from scripts.sharing.trained import Trained

INDIRECT = (
    "pytorch-ignite",  # MONAI's engines
    "fire",  # MONAI's command line
    "pylibjpeg",  # compressed DICOM, found by pydicom
    "pylibjpeg-openjpeg",
    "pylibjpeg-rle",
    "pyjpegls",
)
"""Packages required without being imported by name."""

PARTS = {"itk": "itk-io"}
"""Module → required distribution if there are several; itk-io itself requires the other one in use, itk-core."""

OWN_KEYS = ("monai", "torch", "numpy")
"""Packages with separate keys in metadata.json."""


def required_packages(files: Iterable[Path]) -> dict[str, str]:
    """Return installed versions of distributions that the files import; packages not installed are optional."""
    own = {*PACKAGES, "scripts", *sys.stdlib_module_names}
    modules = {name.split(".")[0] for path in files for name in imports(path)} - own
    distributions = packages_distributions()
    names = {_distribution(module, distributions.get(module, [])) for module in modules} | set(INDIRECT)
    versions = {name: installed(name) for name in sorted(names - set(OWN_KEYS))}
    return {name: number for name, number in versions.items() if number is not None}


def network_package(trained: Trained) -> dict[str, str]:
    """Return distribution and version of the package of a custom network; empty for `PACKAGES` and `OWN_KEYS`."""
    config = json.loads((trained.bundle / "configs" / "inference.json").read_text(encoding="utf-8"))
    module = str(config["network_def"]["_target_"]).split(".")[0]
    if module in (*PACKAGES, *OWN_KEYS):
        return {}
    name = _distribution(module, packages_distributions().get(module, []))
    number = installed(name)
    return {} if number is None else {name: number}


def installed(name: str) -> str | None:
    """Return the version without a build suffix such as +cpu in 2.13.0+cpu; None if not installed."""
    try:
        return version(name).split("+")[0]
    except PackageNotFoundError:
        return None


def _distribution(module: str, candidates: list[str]) -> str:
    """Return the distribution named like the module, or else the first one that provides it."""
    if module in PARTS:
        return PARTS[module]
    return module if installed(module) is not None else min((name.lower() for name in candidates), default=module)
