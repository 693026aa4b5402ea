"""Folds from a file; the committed folds of public data sets equal those drawn by `scripts.crossval`."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from repository import ROOT

from scripts.crossvalidation.folds import digest_of, read_folds, write_folds
from scripts.importers.writing.split import folds_of
from transforms.errors import UserError

FOLDS = ROOT / "docs" / "folds"


def test_cdd_cesm_has_five_folds_by_woman() -> None:
    with (FOLDS / "cdd-cesm.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    # `prepare folder` numbers subjects in the order of their file names, P106_L_DM_MLO before P1_L_DM_MLO
    names = sorted((row["woman"] for row in rows), key=lambda woman: f"{woman}_")
    assert [(row["woman"], row["subject"]) for row in rows] == [(n, f"s{i:03d}") for i, n in enumerate(names, start=1)]
    dealt = folds_of((row["subject"] for row in rows), 5, seed=0)
    found = [[row["subject"] for row in rows if row["fold"] == str(number)] for number in range(1, 6)]
    assert found == dealt
    assert [len(fold) for fold in dealt] == [21, 20, 20, 20, 20]
    assert read_folds(FOLDS / "cdd-cesm.csv", {row["subject"] for row in rows}) == dealt


def test_folds_are_read_as_they_are_written(tmp_path: Path) -> None:
    folds = [["b", "d"], ["a"], ["c"]]
    path = write_folds(folds, tmp_path / "folds.csv")
    assert path.read_text(encoding="utf-8").split() == ["subject,fold", "a,2", "b,1", "c,3", "d,1"]
    assert read_folds(path, "abcd") == folds
    saved_by_a_spreadsheet = tmp_path / "sheet.csv"
    saved_by_a_spreadsheet.write_bytes(b"\xef\xbb\xbffold;x;subject\r\n2;;a\r\n1;;d\r\n;;\r\n3;;c \r\n1;;b\r\n")
    assert read_folds(saved_by_a_spreadsheet, "abcd") == folds
    assert digest_of(read_folds(saved_by_a_spreadsheet, "abcd")) == digest_of(folds)
    assert digest_of([["a"], ["b", "d"], ["c"]]) != digest_of(folds)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a CSV file with rows and the columns subject and fold"),
        ("name,fold\na,1\n", "expected a CSV file with rows and the columns subject and fold"),
        ("subject,fold\n", "expected a CSV file with rows and the columns"),
        ("subject,fold\na,1\nMary,2\n", "row 3: its subject is not in the data set"),
        ("subject,fold\na,1\nb,2\na,2\n", "row 4: its subject already has a row"),
        ("subject,fold\na,1\nb,2\n", "has no row for 1 of 3 subjects, such as c"),
        ("subject,fold\na,1\nb,0\nc,2\n", "row 3: expected a fold from 1 to 3"),
        ("subject,fold\na,1\nb,4\nc,2\n", "row 3: expected a fold from 1 to 3"),
        ("subject,fold\na,1\nb,\nc,2\n", "row 3: expected a fold"),
        ("subject,fold\na,1\nb\nc,2\n", "row 3: expected a fold"),
        ("subject,fold\na,1\nb,1.5\nc,2\n", "row 3: expected a fold"),
        (f"subject,fold\na,1\nb,{'9' * 5000}\nc,2\n", "row 3: expected a fold"),
        ("subject,fold\na,1\nb,²\nc,2\n", "row 3: expected a fold"),
        ("subject,fold\na,1\nb,3\nc,1\n", "fold 2 has no subject; expected at least two folds, numbered without"),
        ("subject,fold\na,1\nb,1\nc,1\n", "one fold; expected at least two folds"),
    ],
)
def test_files_that_are_no_folds(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "folds.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        read_folds(path, "abc")
    assert "\n" not in str(error.value)
    assert "Mary" not in str(error.value)


@pytest.mark.parametrize("content", [None, b"\x00\x01\x02" * 50, b"\xff\xfe\x00"])
def test_files_that_are_no_table(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "folds.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"--folds_file .*folds\.csv: "):
        read_folds(path, "abc")
