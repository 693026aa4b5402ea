"""An import shared by machines: merged parts equal a single import byte for byte; mismatches are reported."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dicom_factory import PLANTED
from shards_factory import SOURCES, content, dicom, import_parts, pictures, refused, run

from engines.base.lock import claim
from scripts.importers.import_options import ImportOptions
from scripts.importers.writing import process_case, staging, writer
from transforms.errors import UserError


@pytest.mark.parametrize(
    ("source", "count"), [("pictures", 2), ("pictures", 3), *(("dicom", count) for count in (1, 2, 3, 9))]
)
def test_parts_and_merge_are_one_import_to_the_byte(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, count: int
) -> None:
    words, summaries, maps = SOURCES[source](tmp_path), {}, {}
    out = tmp_path / "images" / "data"  # below the images: parts are not taken for such
    for name, shard in (("one", ()), ("parts", ("--shard", "merge"))):
        if shard:
            import_parts(words, out, count, "--private_map", str(tmp_path / "parts.csv"))
            capsys.readouterr()
        assert run(words, out, *shard, "--json", "--private_map", str(tmp_path / f"{name}.csv")) == 0
        summaries[name], maps[name] = capsys.readouterr(), (tmp_path / f"{name}.csv").read_bytes()
        out.rename(tmp_path / name)
    assert content(tmp_path / "parts") == content(tmp_path / "one")
    assert summaries["parts"] == summaries["one"]
    assert maps["parts"] == maps["one"]
    assert json.loads(summaries["one"].out)["rejected"]
    assert not (tmp_path / "images" / "data.shards").exists()


def test_parts_of_machines_with_disks_of_their_own_are_brought_together(tmp_path: Path) -> None:
    words = pictures(tmp_path)
    for number in (1, 2):
        assert run(words, tmp_path / f"disk{number}" / "data", "--shard", f"{number}/2") == 0
    shutil.copytree(tmp_path / "disk2" / "data.shards", tmp_path / "disk1" / "data.shards", dirs_exist_ok=True)
    assert run(words, tmp_path / "disk1" / "data", "--shard", "merge") == 0
    assert run(words, tmp_path / "one" / "data") == 0
    assert content(tmp_path / "disk1" / "data") == content(tmp_path / "one" / "data")


def test_a_linked_part_and_a_disk_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words, shards = pictures(tmp_path), tmp_path / "data.shards"
    import_parts(words, tmp_path / "data", 2)
    (shards / "2-of-2").rename(tmp_path / "elsewhere")
    (shards / "2-of-2").symlink_to(tmp_path / "elsewhere")

    def fail(*_: object) -> None:
        raise OSError("other disk")

    monkeypatch.setattr(os, "link", fail)
    assert run(words, tmp_path / "data", "--shard", "merge") == 0
    assert run(words, tmp_path / "one", "--name", "data") == 0
    assert content(tmp_path / "data") == content(tmp_path / "one")
    assert not shards.exists()
    assert (tmp_path / "elsewhere" / "shard.json").is_file()


def test_a_part_names_nobody(tmp_path: Path) -> None:
    """Parts contain no names of files or subjects, also for unreadable images."""
    import_parts(dicom(tmp_path), tmp_path / "data", 2)
    held = content(tmp_path / "data.shards")
    assert len(held) == 2 + 5 * 2  # arrays and records of five images
    for planted in PLANTED:
        assert not [name for name, held_in in held.items() if planted.encode() in held_in or planted in name]


def test_an_interrupted_part_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, done, saved = pictures(tmp_path), [], process_case.save_case

    def end(*arguments: Any) -> None:
        saved(*arguments)
        done.append(arguments)
        if len(done) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(process_case, "save_case", end)
        assert run(words, tmp_path / "data", "--shard", "1/2") != 0
    cases = tmp_path / "data.shards" / "1-of-2" / "cases"
    assert len(list(cases.glob("*.json"))) == 2
    torn = sorted(cases.glob("*.image.npy"))[0]
    torn.write_bytes(torn.read_bytes()[:-1] + b"\xff")  # as a power cut may leave it
    assert run(words, tmp_path / "data", "--shard", "2/2") == 0
    capsys.readouterr()
    line = refused(words, tmp_path / "data", capsys, "--shard", "merge")
    assert "1-of-2: is not finished; run the command with --shard 1/2 (it resumes)" in line
    assert run(words, tmp_path / "data", "--shard", "1/2", "--json") == 0
    assert "1 images had been finished by an earlier run" in json.loads(capsys.readouterr().out)["notes"]
    assert run(words, tmp_path / "data", "--shard", "merge") == 0
    assert run(words, tmp_path / "one", "--name", "data") == 0
    assert content(tmp_path / "data") == content(tmp_path / "one")


def test_a_part_at_work_is_not_merged_nor_begun_in_a_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, out, said = pictures(tmp_path), tmp_path / "data", []
    import_parts(words, out, 2)
    capsys.readouterr()
    lock: Any = claim(tmp_path / "data.shards" / "2-of-2" / "in_use")
    line = "2-of-2: another process is working in it; wait for it"
    assert f"{line}, then merge" in refused(words, out, capsys, "--shard", "merge")
    lock.close()  # as one that was killed leaves it
    placed = writer._place

    def begin(*arguments: Any) -> None:
        said.append(refused(words, out, capsys, "--shard", "2/2", "--overwrite"))
        placed(*arguments)

    monkeypatch.setattr(writer, "_place", begin)
    assert run(words, out, "--shard", "merge") == 0
    assert line in said[0]
    assert not (tmp_path / "data.shards").exists()


def test_a_merge_that_ends_early_loses_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = pictures(tmp_path)
    import_parts(words, tmp_path / "data", 2)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = content(tmp_path / "data.shards")
    with monkeypatch.context() as patch:
        patch.setattr(staging, "_replace", interrupt)
        assert run(words, tmp_path / "data", "--shard", "merge") != 0
    assert content(tmp_path / "data.shards") == before
    assert run(words, tmp_path / "data", "--shard", "merge") == 0
    assert (tmp_path / "data" / "dataset.json").is_file()


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """Command and finished parts of an import, to be copied."""
    folder = tmp_path_factory.mktemp("three")
    words = pictures(folder)
    import_parts(words, folder / "data", 3)
    return words, folder / "data.shards"


def drop(shards: Path) -> None:
    shutil.rmtree(shards / "2-of-3")


def again(shards: Path) -> None:
    shutil.copytree(shards / "1-of-3", shards / "1-of-3 copy")


def other_division(shards: Path) -> None:
    shutil.copytree(shards / "1-of-3", shards / "1-of-4")
    path = shards / "1-of-4" / "shard.json"
    path.write_text(path.read_text().replace('"parts": 3', '"parts": 4'))


def damaged(shards: Path) -> None:
    (shards / "2-of-3" / "shard.json").write_text("{")


def odd(shards: Path) -> None:
    path = shards / "2-of-3" / "shard.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rejected": {"key": None}}))


def cut(shards: Path) -> None:
    path = sorted((shards / "2-of-3" / "cases").glob("*.label.npy"))[0]
    path.write_bytes(path.read_bytes()[:-1])


def no_parts(shards: Path) -> None:
    shutil.rmtree(shards)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (drop, "part 2 of 3 is missing; run the command with --shard 2/3, or copy the part from another machine"),
        (again, "1-of-3 copy: is part 1 of 3, and so is "),
        (other_division, "holds parts of 3 and of 4; remove those of the other division"),
        (
            damaged,
            "2-of-3: not a part of an import (shard.json is missing or damaged); run its part again, or move it away",
        ),
        (odd, "2-of-3: not a part of an import"),
        (cut, "2-of-3: files of an image are missing or damaged; run the command again with --shard 2/3, then"),
        (no_parts, "no parts of an import; first run the command with, for example, --shard 1/3"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_cannot_be_merged_is_told_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    three: tuple[list[str], Path],
    change: Callable[[Path], None],
    expected: str,
) -> None:
    words = three[0]
    shutil.copytree(three[1], tmp_path / "data.shards")
    change(tmp_path / "data.shards")
    assert expected in refused(words, tmp_path / "data", capsys, "--shard", "merge")
    assert not (tmp_path / "data").exists()
    if change is cut:
        assert run(words, tmp_path / "data", "--shard", "2/3") == 0
        assert run(words, tmp_path / "data", "--shard", "merge") == 0


def changed_source(folder: Path) -> list[str]:
    os.utime(folder / "labels" / "w4_L_CC.png", ns=(1, 1))
    return []


def more_images(folder: Path) -> list[str]:
    for kind in ("images", "labels"):
        shutil.copy(folder / kind / "w4_L_CC.png", folder / kind / "w4_R_CC.png")
    return []


def other_table(folder: Path) -> list[str]:
    (folder / "split.csv").write_text((folder / "split.csv").read_text().replace("w2,2", "w2,1"))
    return []


@pytest.mark.parametrize(
    ("change", "expected", "read_again"),
    [
        (lambda _: ["--seed", "3", "--licence", "CC0"], "was made with --seed 0 (here 3), --licence  (here CC0)", 0),
        (lambda _: ["--values", "0=background,1=mass"], "was made with other classes or options of the format", None),
        (lambda _: ["--ignore", "2"], "was made with other classes or options of the format", None),
        (other_table, "was made with --split a file of SHA-256 ", 0),
        (changed_source, "is of other files, of files that changed since", 1),
        (more_images, "is of an import of 7 images, but this one has 8", 1),
    ],
    ids=["options", "classes", "ignored", "split", "changed file", "more files"],
)
def test_parts_of_another_plan_are_refused_and_soon_made_again(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], list[str]],
    expected: str,
    read_again: int | None,
) -> None:
    words = pictures(tmp_path)
    import_parts(words, tmp_path / "data", 2)
    more = change(tmp_path)
    capsys.readouterr()
    line = refused(words, tmp_path / "data", capsys, *more, "--shard", "merge")
    assert f"1-of-2: {expected}" in line
    assert "use the same for all parts and --shard merge, or run the command with --shard 1/2 as here" in line
    read: list[Any] = []
    saved = process_case.save_case
    monkeypatch.setattr(process_case, "save_case", lambda *arguments: (read.append(1), saved(*arguments)))
    if read_again is None:
        line = refused(words, tmp_path / "data", capsys, *more, "--shard", "1/2")
        assert "holds 3 images of another import, or made with other options or another version of the code" in line
        shutil.rmtree(tmp_path / "data.shards")
        read_again = 6
    import_parts(words, tmp_path / "data", 2, *more)
    assert len(read) == read_again
    assert run(words, tmp_path / "data", *more, "--shard", "merge") == 0
    assert run(words, tmp_path / "one", *more, "--name", "data") == 0
    assert content(tmp_path / "data") == content(tmp_path / "one")


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "1/0", "1/2/3", "-1/3", "1/x", "all", ""])
def test_what_is_no_part(shard: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"--shard is {shard!r}; expected a part such as 2/3, from 1/3")):
        ImportOptions(shard=shard)


def test_another_number_of_parts_is_refused_before_it_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], three: tuple[list[str], Path]
) -> None:
    shutil.copytree(three[1], tmp_path / "data.shards")
    line = refused(three[0], tmp_path / "data", capsys, "--shard", "1/4")
    assert "1-of-3: is part 1 of 3, but --shard is 1/4; use one number of parts, or remove the parts" in line


def test_parts_and_their_merge_keep_an_existing_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = pictures(tmp_path)
    assert run(words, tmp_path / "data") == 0
    before = content(tmp_path / "data")
    capsys.readouterr()
    assert "exists and is not empty" in refused(words, tmp_path / "data", capsys, "--shard", "1/1")
    import_parts(words, tmp_path / "data", 1, "--overwrite", "--seed", "1")
    capsys.readouterr()
    assert "exists and is not empty" in refused(words, tmp_path / "data", capsys, "--seed", "1", "--shard", "merge")
    assert content(tmp_path / "data") == before
    assert run(words, tmp_path / "data", "--seed", "1", "--overwrite", "--shard", "merge") == 0
    assert json.loads((tmp_path / "data" / "dataset.json").read_text())["split"]["seed"] == 1
