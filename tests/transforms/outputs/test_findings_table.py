"""The file findings.csv: the same bytes as if the whole were written for each row, at the cost of the row alone."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import pytest

from transforms.errors import UserError
from transforms.outputs.findings_table import (
    FindingsTable,
    merge_parts,
    part_files,
    put_refused,
    put_row,
    read_rows,
    table_for,
)
from transforms.plain_text import csv_cell


def row(name: str, **more: str) -> dict[str, str]:
    return {"name": name, "rows": "3", "tumor_px": "12", **more, "burned_in": "", "refused": ""}


REFUSED = {"name": "d", "refused": "d.png: damaged, or cut"}
ORDERS = {
    "usual": [row("a"), row("b"), row("c"), REFUSED],
    "replaced": [row("a"), row("b"), row("a", tumor_px="0"), row("c")],
    "refused, then read": [row("a"), REFUSED, row("d"), row("b")],
    "refused first": [REFUSED, row("a"), row("b")],
    "other columns": [row("a"), row("b", gland_px="5"), row("c"), row("d", gland_px="1", mass_px="2")],
    "formulas and letters": [row("=cmd()"), row("@b"), row("Müller, 乳"), row('"'), row("'=cmd()"), row("a\nb")],
    "one image, other columns": [row("a", gland_px="5"), row("a")],
}


def written_as_a_whole(rows: list[dict[str, str]]) -> bytes:
    """Expected content: as if all rows were rewritten for each new one, replacing one of the same name."""
    kept: list[dict[str, str]] = []
    for one in rows:
        cells = {csv_cell(key): csv_cell(value) for key, value in one.items()}
        kept = [*(other for other in kept if other["name"] != cells["name"]), cells]
        columns = list(dict.fromkeys(key for other in kept for key in other))
        columns.sort(key=("burned_in", "refused").__contains__)
        kept = [{key: other.get(key, "") for key in columns} for other in kept]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(kept)
    return text.getvalue().encode()


@pytest.mark.parametrize("rows", ORDERS.values(), ids=ORDERS)
def test_the_table_is_that_of_whole_writes(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    table = FindingsTable(tmp_path / "one.csv")
    for number, one in enumerate(rows, start=1):
        table.put(one)
        FindingsTable(tmp_path / "resumed.csv").put(one)
        expected = written_as_a_whole(rows[:number])
        assert (tmp_path / "one.csv").read_bytes() == expected
        assert (tmp_path / "resumed.csv").read_bytes() == expected


def test_a_row_costs_its_own_bytes_however_many_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, synced = FindingsTable(tmp_path / "findings.csv"), []
    monkeypatch.setattr(os, "fsync", synced.append)
    table.put(row("000"))
    state = table.path.stat()
    for number in range(1, 200):
        table.put(row(f"{number:03d}"))
        found = table.path.stat()
        assert (found.st_ino, found.st_size - state.st_size) == (state.st_ino, len(b"000,3,12,,\r\n"))
        state = found
    assert len(synced) == 200
    assert [one["name"] for one in read_rows(table.path)] == [f"{number:03d}" for number in range(200)]


def test_half_a_row_is_no_row_and_is_done_again(tmp_path: Path) -> None:
    rows = [row("a"), row("b", note="ü, 乳"), row("é", note='"quoted", ü')]
    whole, before = written_as_a_whole(rows), len(written_as_a_whole(rows[:2]))
    path = tmp_path / "findings.csv"
    for length in range(before, len(whole)):  # every byte at which a kill may cut
        path.write_bytes(whole[:length])
        assert [one["name"] for one in read_rows(path)] == ["a", "b"], length
        FindingsTable(path).put(rows[2])
        assert path.read_bytes() == whole


def test_changes_of_others_are_kept(tmp_path: Path) -> None:
    table = FindingsTable(tmp_path / "findings.csv")
    table.put(row("a"))
    FindingsTable(table.path).put(row("b"))
    table.put(row("c"))
    assert table.path.read_bytes() == written_as_a_whole([row("a"), row("b"), row("c")])
    table.path.unlink()
    table.put(row("d"))
    assert table.path.read_bytes() == written_as_a_whole([row("d")])


def test_a_table_of_another_line_end_and_mark_becomes_ours(tmp_path: Path) -> None:
    (tmp_path / "findings.csv").write_bytes("\ufeffname,note,\nb,mine,\n".encode())
    put_row(tmp_path, row("a"))
    text = (tmp_path / "findings.csv").read_bytes()
    assert text == b"name,note,rows,tumor_px,burned_in,refused\r\nb,mine,,,,\r\na,,3,12,,\r\n"


@pytest.mark.parametrize(
    "content",
    [b"name;rows\na;5\n", "name\nM\u00fc\n".encode("latin-1"), b"name,rows\ra,5\rb,6\r", b"name,rows\na,1\n,2\n"],
    ids=["semicolons", "latin 1", "old line ends", "no name"],
)
def test_what_is_no_such_table_is_told_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "findings.csv"
    path.write_bytes(content)
    for attempt in (lambda: put_row(tmp_path, row("x")), lambda: table_for(tmp_path, ["x"]), lambda: read_rows(path)):
        with pytest.raises(UserError, match="no longer a table of earlier results"):
            attempt()
    assert path.read_bytes() == content


@pytest.mark.parametrize("appended", [True, False], ids=["appended", "written again"])
def test_an_error_while_writing_leaves_the_table_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, appended: bool
) -> None:
    table = FindingsTable(tmp_path / "findings.csv")
    table.put(row("a"))
    before = table.path.read_bytes()

    def fail(_: int) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="disk full"):
            table.put(row("b") if appended else row("a"))
        assert table.path.read_bytes() == before
    table.put(row("b"))
    assert table.path.read_bytes() == written_as_a_whole([row("a"), row("b")])
    assert [path.name for path in tmp_path.iterdir()] == ["findings.csv"]


def test_which_table_gets_the_rows(tmp_path: Path) -> None:
    assert table_for(tmp_path, ["a"]) == "findings.csv"
    assert table_for(tmp_path, ["a"], 2, 3) == "findings.part-2.csv"
    put_row(tmp_path, row("a"))
    put_row(tmp_path, row("=b"))
    assert table_for(tmp_path, ["c"]) == "findings.csv"
    assert table_for(tmp_path, ["=b"]) == "findings.part-0.csv"
    put_row(tmp_path, row("a"), "findings.part-10.csv")  # of a killed run with eleven processes
    put_row(tmp_path, row("c"), "findings.part-9.csv")
    assert table_for(tmp_path, ["a", "c"]) == "findings.part-11.csv"
    assert table_for(tmp_path, ["c"]) == "findings.part-10.csv"
    assert [table_for(tmp_path, ["a"], number, 3) for number in range(3)] == [
        *("findings.part-12.csv", "findings.part-13.csv", "findings.part-11.csv")
    ]
    assert table_for(tmp_path, ["d"], 1, 3) == "findings.part-1.csv"


def test_parts_become_the_table_of_one_process(tmp_path: Path) -> None:
    """The last table wins, by number; rows of other images come first, refused ones last."""
    one: dict[str, Any] = {"x": row("x"), "a": row("a", note="new"), "b": row("b"), "=c": row("=c"), "d": REFUSED}
    put_row(tmp_path, one["x"])
    put_row(tmp_path, row("a", note="old"))
    put_row(tmp_path, one["=c"], "findings.part-1.csv")
    put_row(tmp_path, row("a", note="older"), "findings.part-2.csv")
    put_refused(tmp_path, "d", REFUSED["refused"], "findings.part-2.csv")
    put_row(tmp_path, one["b"], "findings.part-3.csv")
    put_row(tmp_path, one["a"], "findings.part-10.csv")
    (tmp_path / "findings.part-mine.csv").write_text("not ours")
    assert [path.name for path in part_files(tmp_path)] == [f"findings.part-{n}.csv" for n in (1, 2, 3, 10)]
    with (tmp_path / "findings.part-3.csv").open("ab") as file:
        file.write(b"=c,half")
    merge_parts(tmp_path, ["a", "b", "=c", "d"])
    assert (tmp_path / "findings.csv").read_bytes() == written_as_a_whole(list(one.values()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["findings.csv", "findings.part-mine.csv"]


def test_parts_of_refused_files_alone_do_not_change_the_columns(tmp_path: Path) -> None:
    put_refused(tmp_path, "d", REFUSED["refused"], "findings.part-0.csv")
    put_row(tmp_path, row("a"), "findings.part-1.csv")
    merge_parts(tmp_path, ["d", "a"])
    assert (tmp_path / "findings.csv").read_bytes() == written_as_a_whole([row("a"), REFUSED])
