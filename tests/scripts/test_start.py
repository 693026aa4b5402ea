"""Help is fast: no command imports modules for it that only its work needs."""

from __future__ import annotations

import gc
import json
import subprocess
import sys

import pytest
from repository import ROOT

from scripts import bundles
from scripts.commandline import without_collector

PROGRAM = """
import contextlib, importlib, io, json, pathlib, sys
import typer
HEAVY = {"torch", "monai", "ignite", "mlflow", "pandas", "matplotlib", "numpy", "scipy", "skimage", "PIL", "pydicom",
         "itk", "nibabel", "jsonschema"}
found = {}
for path in sorted(pathlib.Path("scripts").glob("*.py")):
    module = importlib.import_module(f"scripts.{path.stem}")
    if not hasattr(module, "main"):
        continue
    group = typer.main.get_command(module.app)
    names = group.list_commands(None) if hasattr(group, "list_commands") else []
    for words in ([], *([name] for name in names)):
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            code = module.main([*words, "--help"])
        found[" ".join([path.stem, *words])] = [code, text.getvalue()[:6], sorted(HEAVY & set(sys.modules))]
json.dump(found, sys.stdout)
"""


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert {"compare", "crossval", "prepare folder", "bundles new", "benchmark tiling"} <= set(found)
    assert {name: what for name, what in found.items() if what != [0, "Usage:", []]} == {}


def test_help_keeps_the_lines_of_indented_paragraphs(capsys: pytest.CaptureFixture[str]) -> None:
    assert bundles.main(["--help"]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert (
        "      python -m scripts.bundles --check      write nothing; list outdated files; exit with 1 if any" in lines
    )
    assert "  Without `--force`, a config that was edited by hand is not overwritten: the" in lines


@pytest.mark.slow
def test_label_maps_of_files_are_compared_without_monai() -> None:
    """Which takes seconds to import; runs alone are compared without torch, see test_compare.py."""
    program = "import sys, scripts.comparison.peers.peer_scores; sys.exit('monai' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_cycles_are_searched_for_again_after_a_command_without() -> None:
    assert gc.isenabled()
    with without_collector():
        assert not gc.isenabled()
    assert gc.isenabled()
