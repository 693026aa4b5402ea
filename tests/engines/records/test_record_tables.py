"""eval/epochs.csv, also after a spreadsheet has saved it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.records.output_folder import Output
from engines.records.tables import read_csv, read_epochs, write_csv
from transforms.errors import UserError

OURS = "stage,epoch,train_loss,iou/Brüste\nfront,1,0.5,0.25\nfront,2,1e-05,\n"


def written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        OURS.encode(),
        OURS.replace("\n", "\r\n").encode("utf-8-sig"),
        OURS.replace(",", ";")
        .replace("0.5", "0,5")
        .replace("0.25", "0,25")
        .replace("1e-05", "1,0E-05")
        .encode("cp1252"),
        OURS.replace(",", "\t").replace("0.5", "0,5").replace("0.25", "0,25").encode("utf-16"),
        (OURS + ",,,\n").encode(),
        OURS.replace("front,1", "front,1.0").encode(),
    ],
    ids=["ours", "byte order mark", "semicolons and commas", "tabs in UTF-16", "empty row", "decimals"],
)
def test_a_table_that_a_spreadsheet_saved_goes_on(tmp_path: Path, content: bytes) -> None:
    output = Output(tmp_path)
    written(output.epochs_file, content)
    output.append_epoch("front", 2, {"train_loss": 0.125})
    output.append_epoch("front", 3, {"train_loss": 0.0625})
    rows = read_csv(output.epochs_file)
    assert [(row["stage"], row["epoch"], float(row["train_loss"])) for row in rows] == [
        ("front", "1", 0.5),
        ("front", "2", 0.125),
        ("front", "3", 0.0625),
    ]
    assert float(rows[0]["iou/Brüste"]) == 0.25


@pytest.mark.parametrize(
    "content",
    [b"a,b\n1,2\n", b"stage,epoch\nfront,one\n", b"stage,epoch\nfront,1,2,3\n", b"stage,epoch\n,1\n", b"\x00\xff\x00"],
    ids=["columns", "word", "too long", "no stage", "binary"],
)
def test_what_is_no_table_of_epochs_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path / "epochs.csv", content)
    if content.startswith(b"\x00"):
        assert read_epochs(path) == []  # a head without rows
        return
    with pytest.raises(UserError, match=r"epochs\.csv: is no longer a table of epochs") as raised:
        read_epochs(path)
    assert "\n" not in str(raised.value)


def test_numbers_with_commas_stay_text_where_commas_separate(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", b'name,value\n"1,5",2\n')
    assert read_csv(path) == [{"name": "1,5", "value": "2"}]
    assert read_csv(tmp_path / "none.csv") == []


def test_no_cell_is_a_formula_and_all_text_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [{"=name": "@SUM(A1)", "x": "-1.5"}, {"=name": "+1e-05", "x": -2.0}, {"=name": "-a", "x": None}]
    write_csv(path, rows)
    written = path.read_text()
    assert written.splitlines() == ["'=name,x", "'@SUM(A1),-1.5", "+1e-05,-2.0", "'-a,"]
    assert read_csv(path) == [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows]
    write_csv(path, read_csv(path))
    assert path.read_text() == written
