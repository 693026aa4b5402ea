"""Many images: several processes, interruption and resuming, crashes, and checks before writing."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_factory import ramp, write_dicom
from PIL import Image
from repository import ROOT

from scripts.importers.import_options import ImportOptions
from scripts.importers.labels.merge import Tally
from scripts.importers.writing import staging, writer
from scripts.importers.writing.case_keys import case_keys
from scripts.importers.writing.cases import Case
from scripts.importers.writing.parallel import in_order, worker_count
from scripts.importers.writing.process_case import Rules, Task, failed_case
from scripts.importers.writing.progress import with_progress
from scripts.prepare import main
from transforms.errors import UserError
from transforms.reading.mammogram import Mammogram

LABELS = ["background", "gland"]


def read_image(source: Path, wait_for: Path | None = None) -> Mammogram:
    """What the functions below read: one number a file; says in a file beside it that it was read."""
    number = int(source.read_text())
    with (source.parent / "reads.log").open("a") as log:
        log.write(f"{source.name} {os.getpid()}\n")
    while wait_for is not None and not wait_for.exists():
        time.sleep(0.02)
    return Mammogram((np.arange(48).reshape(8, 6) + number).astype(np.uint16), (0, 4095), "L", "CC")


def read_label(tally: Tally, number: int, shape: tuple[int, int]) -> np.ndarray:
    tally.notes["things were seen"] += 1
    tally.overlaps["a over b"] += number
    return np.eye(*shape, dtype=np.uint8)


def crash(source: Path) -> Mammogram:
    os._exit(7)


def make_cases(folder: Path, count: int, tally: Tally, wait_for: Path | None = None) -> list[Case]:
    """Cases of one subject each; the last half waits for a file, if one is given."""
    folder.mkdir(exist_ok=True)
    cases = []
    for number in range(count):
        source = folder / f"{number}.txt"
        if not source.exists():
            source.write_text(str(number))
        reader = partial(read_image, source, wait_for if number >= count // 2 else None)
        cases.append(Case(source, str(number), reader, partial(read_label, tally, number), tally=tally))
    return cases


def write(out: Path, cases: list[Case], **options: Any) -> writer.Summary:
    chosen = ImportOptions(**{"name": "n", "progress": False, "workers": 1, **options})
    return writer.write_dataset(out, cases, chosen, labels=LABELS)


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_same_bytes_and_counts_with_any_number_of_processes(tmp_path) -> None:
    tallies, summaries = [Tally() for _ in range(2)], []
    for workers, tally in zip((1, 3), tallies, strict=True):
        summaries.append(write(tmp_path / f"w{workers}", make_cases(tmp_path / "in", 9, tally), workers=workers))
    assert content(tmp_path / "w1") == content(tmp_path / "w3")
    assert summaries[0].notes == summaries[1].notes
    for tally in tallies:
        assert (tally.notes["things were seen"], tally.overlaps["a over b"]) == (9, 36)
    processes = [line.split()[1] for line in (tmp_path / "in" / "reads.log").read_text().splitlines()]
    assert set(processes[:9]) == {str(os.getpid())}
    assert str(os.getpid()) not in processes[9:]


def test_a_commands_cases_pickle_and_give_the_same_bytes_in_two_processes(tmp_path) -> None:
    for number in range(4):
        write_dicom(tmp_path / "in" / f"{number}.dcm", ramp((24, 16)) + number, PatientID=str(number))
        (tmp_path / "labels").mkdir(exist_ok=True)
        Image.fromarray(np.eye(24, 16, dtype=np.uint8)).save(tmp_path / "labels" / f"{number}.png")
    for workers in ("1", "2"):
        places = [str(tmp_path / name) for name in ("in", "labels", workers)]
        options = ["--values", "0=a,1=b", "--name", "n", "--workers", workers, "--quiet", "--json"]
        assert main(["folder", *places, *options]) == 0
    assert content(tmp_path / "1") == content(tmp_path / "2")


CHILD = """
import sys
from pathlib import Path
from test_prepare_scale import Tally, make_cases, write
if __name__ == "__main__":
    root = Path(sys.argv[1])
    write(root / "out", make_cases(root / "in", 8, Tally(), root / "go"), workers=2)
"""


def eventually(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_kill_9_in_the_middle_and_the_same_command_again(tmp_path) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests", Path(__file__).parent)))
    command = [sys.executable, str(tmp_path / "child.py"), str(tmp_path)]
    child = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, stderr=subprocess.DEVNULL)
    log = tmp_path / "in" / "reads.log"
    eventually(lambda: log.exists() and len(log.read_text().splitlines()) == 6)  # four done, two wait
    stages = list(tmp_path.glob(".out.partial-*/new/cases"))
    eventually(lambda: len(list(stages[0].glob("*.json"))) == 4)
    child.send_signal(signal.SIGKILL)
    child.wait()
    workers = {int(line.split()[1]) for line in log.read_text().splitlines()}
    eventually(lambda: not any(alive(pid) for pid in workers))
    assert not (tmp_path / "out").exists()

    sorted(stages[0].glob("*.image.npy"))[0].write_bytes(b"broken on the disk")  # one of the four
    (stages[0] / "another command.json").write_text("{}")
    log.unlink()
    (tmp_path / "go").touch()
    tally = Tally()
    summary = write(tmp_path / "out", make_cases(tmp_path / "in", 8, tally, tmp_path / "go"))
    assert len(log.read_text().splitlines()) == 5  # the broken one, and the four that had not been done
    assert "3 images had been finished by an interrupted run" in summary.notes
    assert (tally.notes["things were seen"], tally.overlaps["a over b"]) == (8, 28)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    clean = write(tmp_path / "clean", make_cases(tmp_path / "in", 8, Tally(), tmp_path / "go"))
    assert clean.images == 8
    assert content(tmp_path / "out") == content(tmp_path / "clean")


def interrupted(source: Path) -> Mammogram:
    raise KeyboardInterrupt


def interrupt(tmp_path: Path, **options) -> list[Case]:
    """Write three cases, the last of which ends the run by Ctrl-C; returns the cases."""
    cases = make_cases(tmp_path / "in", 3, Tally())
    last = Case(cases[2].source, "2", partial(interrupted, cases[2].source))
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out", [*cases[:2], last], **options)
    (tmp_path / "in" / "reads.log").unlink()
    return cases


def reads(tmp_path: Path) -> list[str]:
    return [line.split()[0] for line in (tmp_path / "in" / "reads.log").read_text().splitlines()]


def test_ctrl_c_keeps_what_is_finished_and_says_so(tmp_path, capsys) -> None:
    cases = interrupt(tmp_path)
    assert "2 finished images are kept in" in capsys.readouterr().err
    stage = next(tmp_path.glob(".out.partial-*"))
    assert {path.name for path in stage.iterdir()} == {"new", "in_use"}
    assert [path.name for path in (stage / "new").iterdir()] == ["cases"]
    write(tmp_path / "out", cases)
    assert reads(tmp_path) == ["2.txt"]


@pytest.mark.parametrize("change", ["option", "source", "nothing"])
def test_what_is_not_identical_is_done_again(tmp_path, change) -> None:
    cases = interrupt(tmp_path)
    if change == "source":
        os.utime(cases[0].source, ns=(1, 1))
    write(tmp_path / "out", cases, flip="left" if change == "option" else "none")
    expected = {"option": ["0.txt", "1.txt", "2.txt"], "source": ["0.txt", "2.txt"], "nothing": ["2.txt"]}
    assert reads(tmp_path) == expected[change]


def test_an_early_error_leaves_nothing_a_late_one_what_is_finished(tmp_path, monkeypatch) -> None:
    cases = make_cases(tmp_path / "in", 3, Tally())
    bad = Case(cases[2].source, "2", cases[2].read_image, partial(bad_label))
    for seconds, kept in ((60.0, 0), (0.0, 1)):
        monkeypatch.setattr(staging, "LATE_SECONDS", seconds)
        with pytest.raises(UserError, match="its label map 3 x 3"):
            write(tmp_path / "out", [*cases[:2], bad])
        assert len(list(tmp_path.glob(".out.partial-*"))) == kept


def bad_label(shape: tuple[int, int]) -> np.ndarray:
    return np.zeros((3, 3), np.uint8)


def test_keys_do_not_depend_on_what_was_counted_and_differ_for_equal_cases(tmp_path) -> None:
    tally = Tally()
    cases = make_cases(tmp_path / "in", 2, tally)
    rules = Rules(("a", "b"))
    before = case_keys([*cases, cases[0]], rules)
    tally.notes["more"] += 1
    assert case_keys([*cases, cases[0]], rules) == before
    assert len(set(before)) == 3
    assert case_keys([Case(cases[0].source, "0", lambda: None)], rules) == [None]
    again = [pickle.loads(pickle.dumps(case)) for case in cases]
    assert case_keys(again, rules) == before[:2]


def test_a_file_that_ends_its_process_is_left_out(tmp_path) -> None:
    cases = make_cases(tmp_path / "in", 5, Tally())
    cases[1] = Case(cases[1].source, "1", partial(crash, cases[1].source))
    summary = write(tmp_path / "out", cases, workers=2)
    assert summary.images == 4
    assert [path.name for path, _ in summary.rejected] == ["1.txt"]
    assert "reading it ended the process" in summary.rejected[0][1]
    with pytest.raises(UserError, match=r"1\.txt: reading it ended the process"):
        failed_case(Task(tmp_path, "key", cases[1], Rules(tuple(LABELS), strict=True)))


def test_errors_come_in_the_order_of_the_cases(tmp_path) -> None:
    with pytest.raises(UserError, match="number 3"):
        list(in_order(fail_from_3, range(9), 2, fail_from_3))


def fail_from_3(number: int) -> int:
    if number >= 3:
        raise UserError(f"number {number}")
    return number


def test_number_of_processes(tmp_path, monkeypatch) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"1")
    with large.open("wb") as file:
        file.truncate(2**26)
    monkeypatch.setattr("scripts.importers.writing.parallel.available_processors", lambda: 64)
    assert worker_count(None, [small] * 9) == 1
    assert worker_count(None, [small] * 300) == 4
    assert worker_count(None, [large, large]) == 2
    assert worker_count(None, [tmp_path / "absent"]) == 1
    assert worker_count(7, [small] * 9) == 7
    assert worker_count(7, [small] * 2) == 2


def test_lines_instead_of_a_bar_where_nobody_looks(capsys) -> None:
    assert list(with_progress(range(3), 3, True, seconds=0.0)) == [0, 1, 2]
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["reading: 1 of 3", "reading: 2 of 3"]
    assert "images/s, 00:00:00 left" in lines[0]
    list(with_progress(range(3), 3, False, seconds=0.0))
    list(with_progress(range(3), 3, True))
    assert capsys.readouterr().err == ""


def test_dry_run_writes_nothing_and_says_what_it_would(tmp_path, capsys) -> None:
    for number in range(5):
        write_dicom(tmp_path / "in" / f"{number}.dcm", ramp((24, 16)) + number, PatientID=str(number))
        (tmp_path / "labels").mkdir(exist_ok=True)
        Image.fromarray(np.eye(24, 16, dtype=np.uint8)).save(tmp_path / "labels" / f"{number}.png")
    write_dicom(tmp_path / "in" / "4.dcm", np.zeros((8, 3), np.uint16), NumberOfFrames=4, Rows=2)
    before = content(tmp_path)
    places = [str(tmp_path / name) for name in ("in", "labels", "out")]
    options = ["--values", "0=a,1=b", "--dry_run", "--private_map", str(tmp_path / "map.csv")]
    assert main(["folder", *places, *options]) == 0
    text, errors = capsys.readouterr()
    for part in ("not written", "4 of 4 subjects", "training 3, validation 1", "a, b", "only headers were read"):
        assert part in text
    assert "multi-frame DICOM of 4 frames" in errors.replace("\n", " ")
    assert content(tmp_path) == before
    assert main(["folder", *places, *options, "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert main(["folder", *places, *options[:2], "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    same = ("images", "subjects", "training", "validation", "test", "labels", "transfer_syntaxes", "name")
    assert {key: planned[key] for key in same} == {key: made[key] for key in same}
    assert made["transfer_syntaxes"] == {"Explicit VR Little Endian": {"read": 4, "left out": 1}}
    assert (planned["dry_run"], made["dry_run"]) == (True, False)


def test_counters_of_a_tally_are_left_alone_by_an_error(tmp_path) -> None:
    tally = Tally(Counter(old=1))
    cases = make_cases(tmp_path / "in", 2, tally)
    broken = [Case(c.source, c.subject, c.read_image, partial(failing_label, tally), tally=tally) for c in cases]
    with pytest.raises(UserError, match="no such label"):
        write(tmp_path / "out", broken)
    assert tally.notes == Counter(old=1)


def failing_label(tally: Tally, shape: tuple[int, int]) -> np.ndarray:
    raise UserError("no such label")
