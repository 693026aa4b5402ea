"""Number of torch threads by the load of the machine, on imitated system records."""

from __future__ import annotations

import json
import os
import stat as modes
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
import torch

from engines.base import processors, running, threads
from engines.base.lock import claim


def stat(*cores: str) -> str:
    """`/proc/stat` of processors of which each is "user nice system idle iowait"."""
    lines = [f"cpu{number} {fields} 0 0 0 0 0" for number, fields in enumerate(cores)]
    return "\n".join(["cpu  9 9 9 9 9 0 0 0 0 0", *lines, "intr 1 2 3"])


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine with four processors, all available to this process, which has four threads by default."""
    for name in threads.CHOSEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(processors, "STAT", tmp_path / "stat")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(processors, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(os, "nice", lambda change: 0, raising=False)
    (tmp_path / "stat").write_text(stat(*["0 0 0 100 0"] * 4))
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield tmp_path
    running.unregister()
    torch.set_num_threads(before)


def meanwhile(machine: Path, monkeypatch: pytest.MonkeyPatch, *cores: str) -> None:
    """Set the record after the pause."""
    monkeypatch.setattr(threads.time, "sleep", lambda seconds: (machine / "stat").write_text(stat(*cores)))


IDLE, BUSY, POLITE, WAITING = "0 0 0 120 0", "15 0 5 100 0", "0 20 0 100 0", "0 0 0 100 20"


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        ([IDLE] * 4, 4),
        ([BUSY, IDLE, IDLE, IDLE], 3),
        ([BUSY, BUSY, BUSY, IDLE], 1),
        ([BUSY] * 4, 1),
        ([POLITE] * 4, 4),
        ([WAITING] * 4, 4),
        (["5 0 0 115 0"] * 4, 3),  # a quarter of each
    ],
    ids=["idle", "one", "three", "all", "niced", "disk", "quarters"],
)
def test_a_thread_for_each_free_processor(
    machine: Path, monkeypatch: pytest.MonkeyPatch, cores: list[str], expected: int
) -> None:
    meanwhile(machine, monkeypatch, *cores)
    threads.fit_threads()
    assert torch.get_num_threads() == expected


def test_niced_work_counts_for_a_niced_process(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "nice", lambda change: 10)
    meanwhile(machine, monkeypatch, POLITE, POLITE, IDLE, IDLE)
    threads.fit_threads()
    assert torch.get_num_threads() == 2


def test_processors_of_others_do_not_count(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 3})
    torch.set_num_threads(2)
    meanwhile(machine, monkeypatch, BUSY, BUSY, IDLE, BUSY)
    threads.fit_threads()
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(("quota", "expected"), [("max 100000", 4), ("150000 100000", 2), ("9000000 100000", 4)])
def test_a_container_has_its_share(
    machine: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, quota: str, expected: int
) -> None:
    (machine / "cpu.max").write_text(quota + "\n")
    assert processors.available_processors() == expected
    meanwhile(machine, monkeypatch, *[IDLE] * 4)
    with caplog.at_level("INFO", "mammoseg"):
        threads.fit_threads()
    assert torch.get_num_threads() == expected
    assert ("may use 2 of 4 processors" in caplog.text) == (expected == 2)


@pytest.mark.parametrize("name", threads.CHOSEN)
def test_the_users_number_stays(machine: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "4")
    meanwhile(machine, monkeypatch, *[BUSY] * 4)
    threads.fit_threads()
    threads.restore_threads(2)
    assert torch.get_num_threads() == 4


def test_without_a_record_nothing_happens(machine: Path) -> None:
    (machine / "stat").unlink()
    threads.fit_threads()
    assert torch.get_num_threads() == 4


def test_the_line_says_what_was_done(
    machine: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    meanwhile(machine, monkeypatch, BUSY, BUSY, BUSY, IDLE)
    with caplog.at_level("INFO", "mammoseg"):
        threads.fit_threads()
    (record,) = caplog.records
    assert record.getMessage().startswith("Other programs keep 3.0 of 4 processors busy: computing with 1 thread. ")


@pytest.mark.parametrize(("saved", "expected"), [(2, 2), (4, 4), (5, 4), (None, 4), ("2", 4), (0, 4)])
def test_a_resumed_training_has_the_threads_it_had(machine: Path, saved: object, expected: int) -> None:
    threads.restore_threads(saved)
    assert torch.get_num_threads() == expected


def test_several_processes_share(machine: Path) -> None:
    assert threads.for_several(1, {"A": "b"}) == {"A": "b"}
    assert threads.for_several(2, {}) == {
        "OMP_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "PASSIVE",
        "MAMMOSEG_AT_ONCE": "2",
    }
    assert threads.for_several(9, {"OMP_WAIT_POLICY": "ACTIVE"}) == {
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "ACTIVE",
        "MAMMOSEG_AT_ONCE": "9",
    }


def another(machine: Path, threads: int | None, since: float | None = None, polite: bool = False) -> IO[str]:
    """The file of a run in another process, locked until closed."""
    folder = machine / f"mammoseg-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    handle = claim(folder / f"run-1-{os.urandom(4).hex()}")
    assert handle is not None
    content = {"pid": 1, "threads": threads, "since": time.time() if since is None else since, "polite": polite}
    handle.write(json.dumps(content))
    handle.flush()
    return handle


@pytest.mark.parametrize(
    ("others", "cores", "expected"),
    [
        ([2], [IDLE] * 4, 2),
        ([4], [IDLE] * 4, 1),
        ([None], [IDLE] * 4, 2),
        ([None, None], [IDLE] * 4, 1),
        ([1, None], [IDLE] * 4, 1),
        ([1], [BUSY, IDLE, IDLE, IDLE], 2),
    ],
    ids=["two threads", "all", "about to start", "two about to start", "one of each", "and another program"],
)
def test_runs_that_do_not_compute_yet_get_their_share(
    machine: Path, monkeypatch: pytest.MonkeyPatch, others: list[int | None], cores: list[str], expected: int
) -> None:
    handles = [another(machine, each) for each in others]
    meanwhile(machine, monkeypatch, *cores)
    threads.fit_threads()
    assert torch.get_num_threads() == expected
    for handle in handles:
        handle.close()


def test_work_of_a_run_is_not_counted_twice(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It computes with one thread, which keeps a processor busy: three are free, not two."""
    handle, seconds = another(machine, 1), iter([100, 100 + round(threads.SECONDS * os.sysconf("SC_CLK_TCK"))])
    monkeypatch.setattr(threads, "process_ticks", lambda pid: next(seconds))
    monkeypatch.setattr(running, "process_ticks", lambda pid: next(seconds))
    meanwhile(machine, monkeypatch, BUSY, IDLE, IDLE, IDLE)
    threads.fit_threads()
    assert torch.get_num_threads() == 3
    handle.close()


def test_runs_that_do_not_count(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was killed, one that never started, one that yields, and a file of something else."""
    ended = another(machine, 4)
    ended.close()
    others = [another(machine, None, since=time.time() - 1000), another(machine, 4, polite=True), another(machine, 4)]
    others[2].truncate(3)
    meanwhile(machine, monkeypatch, *[IDLE] * 4)
    threads.fit_threads()
    assert torch.get_num_threads() == 4
    assert not Path(ended.name).exists()
    assert all(Path(handle.name).exists() for handle in others)
    for handle in others:
        handle.close()


def test_the_number_is_settled_before_the_first_step(
    machine: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that was about to start when the config was read has ended since; others see the threads of this run."""
    handle = another(machine, None)
    meanwhile(machine, monkeypatch, *[IDLE] * 4)
    threads.fit_threads(quiet=True)
    assert torch.get_num_threads() == 2
    handle.close()
    with caplog.at_level("INFO", "mammoseg"), threads.computing():
        assert torch.get_num_threads() == 4
        (file,) = (machine / f"mammoseg-{os.getuid()}").iterdir()
        assert json.loads(file.read_text())["threads"] == 4
        assert modes.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert not file.exists()
    assert not caplog.records


def test_a_resumed_run_keeps_its_number(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads.restore_threads(3)
    handle = another(machine, 4)
    with threads.computing(keep=True):
        assert torch.get_num_threads() == 3
    handle.close()


def test_a_folder_of_somebody_else_is_not_used(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine / "elsewhere").mkdir()
    (machine / f"mammoseg-{os.getuid()}").symlink_to(machine / "elsewhere")
    meanwhile(machine, monkeypatch, *[IDLE] * 4)
    threads.fit_threads()
    assert torch.get_num_threads() == 4
    assert not list((machine / "elsewhere").iterdir())
