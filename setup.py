"""What a wheel holds: all of this repository's packages, inside one package `mammoseg`.

In the repository `nets`, `transforms`, `engines` and `scripts` are top-level folders; an editable installation has them
so. Elsewhere these names are too common to take: the wheel has `mammoseg/nets` and so on, which `import mammoseg` makes
importable under their short names (mammoseg/__init__.py), and configs that import mammoseg first.
"""

import shutil
import sys
from pathlib import Path

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py

ROOMS = ("nets", "transforms", "engines", "scripts")
PACKAGES = find_namespace_packages(include=[name for room in ROOMS for name in (room, f"{room}.*")])
INNER = {"mammoseg": "mammoseg", **{f"mammoseg.{name}": name for name in (*ROOMS, "bundles", "docs")}}
DATA = {
    "": ["*.json", "*.md"],
    "mammoseg": ["py.typed"],
    "mammoseg.bundles": ["*/network.json", "*/LICENSE", "*/generated.sha256", "*/configs/*", "*/docs/*", "common/*"],
    "mammoseg.docs": ["*.md", "adr/*.md", "folds/*.csv", "qupath/*", "tutorial.ipynb"],
}


class BuildPackage(build_py):
    """Also put license and pinned versions into the package, and have its configs import it."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        root = Path(self.build_lib) / "mammoseg"
        for name in ("LICENSE", "constraints.txt"):
            shutil.copyfile(name, root / name)
        for path in [*root.glob("bundles/common/*.json"), *root.glob("bundles/*/configs/*.json")]:
            text = path.read_text(encoding="utf-8")
            changed = text.replace('"imports": ["$import', '"imports": ["$import mammoseg", "$import', 1)
            path.write_text(changed, encoding="utf-8", newline="\n")


if "editable_wheel" in sys.argv:
    setup(packages=["mammoseg", *PACKAGES], package_dir={"": "."}, cmdclass={"build_py": BuildPackage})
else:
    setup(
        packages=[*INNER, *(f"mammoseg.{name}" for name in PACKAGES if name not in ROOMS)],
        package_dir=INNER,
        package_data=DATA,
        include_package_data=False,
        cmdclass={"build_py": BuildPackage},
    )
