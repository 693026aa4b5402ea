"""The notebook is small, without outputs, and its cells are Python; tests/test_wheel.py runs it."""

from __future__ import annotations

import ast
import json
import re

from repository import ROOT

from mammoseg.command import OTHERS, app

PATH = ROOT / "docs" / "tutorial.ipynb"


def test_it_is_clean() -> None:
    assert PATH.stat().st_size < 500_000
    notebook = json.loads(PATH.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 8
    assert [cell["id"] for cell in cells if cell["outputs"] or cell["execution_count"] is not None] == []
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}  # nobody's paths or names


def test_its_commands_exist() -> None:
    notebook = json.loads(PATH.read_text(encoding="utf-8"))
    text = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    ast.parse(text)
    used = set(re.findall(r'mammoseg\("(\w+)"', text))
    assert used == {"sample", "prepare", "train", "compare", "new", "infer", "share"}
    assert used <= {
        *OTHERS,
        *(str(command.callback.__name__) for command in app.registered_commands if command.callback),
    }
