"""Compare semantic segmentation networks on mammograms, as MONAI bundles.

    from mammoseg.nets import Dilation10

Importing this package makes `nets`, `transforms`, `engines` and `scripts` importable under these names, which MONAI
configs (`"_target_": "engines.Output"`) and pickled objects use; `mammoseg.nets` is the same module as `nets`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

ROOMS = ("nets", "transforms", "engines", "scripts")
_HERE = Path(__file__).resolve().parent
_ROOT = str(_HERE if (_HERE / "nets").is_dir() else _HERE.parent)
"""The installed package, or the repository."""


class _SameModules(MetaPathFinder, Loader):
    """Finds `mammoseg.nets.fcn` as `nets.fcn`: one module object with two names."""

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        return ModuleSpec(fullname, self) if package == __name__ and name.partition(".")[0] in ROOMS else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(spec.name.partition(".")[2])
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        alias = module.__spec__
        assert alias is not None
        module.__spec__ = self._specs.pop(alias.name)  # importing under the second name has replaced it


if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)
if not any(type(finder).__qualname__ == _SameModules.__qualname__ for finder in sys.meta_path):
    sys.meta_path.insert(0, _SameModules())


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mammoseg")
    if name in ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
