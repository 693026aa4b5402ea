"""The scripts for QuPath are Groovy, and both make the same names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "qupath"
SCRIPTS = ("export_project.groovy", "import_results.groovy")


@pytest.mark.parametrize("name", SCRIPTS)
def test_they_parse(name: str) -> None:
    grammar = pytest.importorskip("dekobon_tree_sitter_groovy", reason="an older environment: make test installs it")
    from tree_sitter import Language, Parser

    parser = Parser(Language(grammar.language()))
    source = (FOLDER / name).read_bytes()
    assert not parser.parse(source).root_node.has_error
    for wrong in (source.replace(b"}", b"", 1), source.replace(b"(project)", b"(project", 1)):
        assert parser.parse(wrong).root_node.has_error


def test_both_make_the_same_names() -> None:
    first, second = (
        re.search(r"(?ms)^// The same in both scripts.*?^}\n", (FOLDER / name).read_text()) for name in SCRIPTS
    )
    assert first is not None
    assert second is not None
    assert first[0] == second[0]


def test_what_they_leave_is_in_the_documents() -> None:
    page = (FOLDER / "README.md").read_text()
    for name in SCRIPTS:
        head = (FOLDER / name).read_text().split("// The same in both scripts")[0]
        settings = re.findall(r"(?m)^def (\w+) = (?:true|false|\d[.\d]*)", head)
        assert settings
        assert [word for word in settings if f"`{word}" not in page] == []
