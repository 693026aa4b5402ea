"""Threads of torch by the load of the machine, on made-up records of the system."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engines.base import processors, threads


def stat(*cores: str) -> str:
    """`/proc/stat` of processors of which each is "user nice system idle iowait"."""
    lines = [f"cpu{number} {fields} 0 0 0 0 0" for number, fields in enumerate(cores)]
    return "\n".join(["cpu  9 9 9 9 9 0 0 0 0 0", *lines, "intr 1 2 3"])


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine of four processors that this process may all use; it has four threads, and nobody chose the number."""
    for name in threads.CHOSEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(processors, "STAT", tmp_path / "stat")
    monkeypatch.setattr(processors, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(os, "nice", lambda change: 0, raising=False)
    (tmp_path / "stat").write_text(stat(*["0 0 0 100 0"] * 4))
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield tmp_path
    torch.set_num_threads(before)


def meanwhile(machine: Path, monkeypatch: pytest.MonkeyPatch, *cores: str) -> None:
    """What the record says after the pause."""
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
    assert threads.for_several(2, {}) == {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
    assert threads.for_several(9, {"OMP_WAIT_POLICY": "ACTIVE"}) == {
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "ACTIVE",
    }
