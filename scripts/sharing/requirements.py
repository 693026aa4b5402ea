"""The packages that copied code needs, in the versions that are installed now."""

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
"""Needed without being imported by name."""

PARTS = {"itk": "itk-io"}
"""Module → the one of several distributions that is meant; this one needs the other that is used, itk-core."""

OWN_KEYS = ("monai", "torch", "numpy")
"""Have keys of their own in metadata.json."""


def required_packages(files: Iterable[Path]) -> dict[str, str]:
    """Distribution name to installed version of all that the files import; what is not installed is optional."""
    own = {*PACKAGES, "scripts", *sys.stdlib_module_names}
    modules = {name.split(".")[0] for path in files for name in imports(path)} - own
    distributions = packages_distributions()
    names = {_distribution(module, distributions.get(module, [])) for module in modules} | set(INDIRECT)
    versions = {name: installed(name) for name in sorted(names - set(OWN_KEYS))}
    return {name: number for name, number in versions.items() if number is not None}


def network_package(trained: Trained) -> dict[str, str]:
    """Distribution and version of the package that a network of one's own comes from; none for those at hand."""
    config = json.loads((trained.bundle / "configs" / "inference.json").read_text(encoding="utf-8"))
    module = str(config["network_def"]["_target_"]).split(".")[0]
    if module in (*PACKAGES, *OWN_KEYS):
        return {}
    name = _distribution(module, packages_distributions().get(module, []))
    number = installed(name)
    return {} if number is None else {name: number}


def installed(name: str) -> str | None:
    """Version without what a build adds to it, as in 2.13.0+cpu; None where it is not installed."""
    try:
        return version(name).split("+")[0]
    except PackageNotFoundError:
        return None


def _distribution(module: str, candidates: list[str]) -> str:
    """The distribution of the module's name, or the first that holds it."""
    if module in PARTS:
        return PARTS[module]
    return module if installed(module) is not None else min((name.lower() for name in candidates), default=module)
