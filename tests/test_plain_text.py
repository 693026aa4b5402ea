"""Names from untrusted sources cannot break a console, a table or a message."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.prepare import main
from transforms.errors import UserError
from transforms.outputs.findings_table import put_refused, put_row, read_rows
from transforms.plain_text import csv_cell, one_line

MARKUP = "[/red]<script>alert(1)</script>"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain äöü 腫瘍", "plain äöü 腫瘍"),
        ("two\nlines\r\t\x1b[31m", r"two\nlines\r\t\x1b[31m"),
        (Path(os.fsdecode(b"M\xfcller.png")), r"M\xfcller.png"),
        (os.fsdecode(b"M\xfcller.png"), r"M\xfcller.png"),
        ("a\u202eb\u2028c", r"a\u202eb\u2028c"),
        ("\ud800", r"\ud800"),
    ],
)
def test_one_line(text: object, line: str) -> None:
    assert one_line(text) == line
    one_line(text).encode("utf-8")


def test_errors_are_one_line_of_bounded_length() -> None:
    message = str(UserError("file\n" + "x" * 10**6 + "; do this"))
    assert len(message) < 2100
    assert message.startswith(r"file\nxxx")
    assert message.endswith("xxx; do this")


@pytest.mark.parametrize("text", ["=cmd()", "+1", "-1+2", "@SUM(A1)"])
def test_formulas_are_text(tmp_path: Path, text: str) -> None:
    assert csv_cell(text) == f"'{text}"
    put_row(tmp_path, {"name": text, f"{text}_px": "5", "refused": ""})
    put_refused(tmp_path, text, text)
    with (tmp_path / "findings.csv").open(newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert len(read_rows(tmp_path / "findings.csv")) == 1, "the same name replaces its row"


def test_class_names_with_markup_are_printed_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        for name in ("a", "b"):
            pixels = np.eye(16, dtype=np.uint8) * (1 if kind == "labels" else 200 + ord(name) % 2)
            Image.fromarray(pixels).save(tmp_path / kind / f"{name}.png")
    out = str(tmp_path / "out")
    values = f"0=[bold]background,1={MARKUP}"
    arguments = ["folder", str(tmp_path / "images"), str(tmp_path / "labels"), out, "--values", values, "--quiet"]
    assert main(arguments) == 0
    assert main(["check", out, "--quiet"]) == 0
    printed = "".join(capsys.readouterr().out.split())
    assert printed.count(MARKUP) == 2
    assert printed.count("[bold]background") == 2


def test_names_in_the_tables_of_a_comparison() -> None:
    from scripts.comparison.table import _markdown_rows

    assert _markdown_rows([["<script>a</script>\n", "x|y"]]) == [r"| &lt;script&gt;a&lt;/script&gt;\n | x\|y |"]
