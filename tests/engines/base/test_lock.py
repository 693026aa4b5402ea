"""Lock for a folder that one process at a time writes to, and leftovers of killed processes."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from repository import ROOT

import engines.base.lock as lock_module
from engines.base.lock import NAME, claim, locked, release
from transforms.errors import UserError
from transforms.processes import Identity

HOLD = """
import sys, time
from pathlib import Path
from engines.base.lock import locked
with locked(Path(sys.argv[1]), "training", "--output_dir", about={"store": "s"}):
    print("held", flush=True)
    time.sleep(60)
"""
FORK = """
import multiprocessing, os, signal, sys, time
from pathlib import Path
from engines.base.lock import locked
def work():
    print("held", flush=True)
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(20)
with locked(Path(sys.argv[1]), "training", "--output_dir"):
    multiprocessing.get_context("fork").Process(target=work).start()
    time.sleep(20)
"""


def start(folder: Path, program: str = HOLD) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    process.stdout.close()
    return process


def record(folder: Path, /, **changes: Any) -> None:
    """Write the record of another process."""
    folder.mkdir(exist_ok=True)
    about = {"task": "training", "folder": str(folder.resolve()), "token": "ab12", "since": "2026-01-02 03:04:05"}
    (folder / NAME).write_text(json.dumps({**about, **Identity.own().record(), **changes}))


def test_the_second_is_refused_and_names_the_first(tmp_path: Path) -> None:
    first = start(tmp_path / "out")
    before = (tmp_path / "out" / NAME).read_bytes()
    for force in (False, True):  # the first is known to be alive
        with (
            pytest.raises(
                UserError,
                match=rf"in use by a training \(process {first.pid} on {socket.gethostname()}, since 20\d\d-.*"
                r"wait for it, stop it, or give another --output_dir$",
            ),
            locked(tmp_path / "out", "training", "--output_dir", force),
        ):
            pass
    assert (tmp_path / "out" / NAME).read_bytes() == before
    first.kill()
    first.wait()


def test_what_was_left_stays_on_record_until_somebody_has_dealt_with_it(tmp_path: Path) -> None:
    process = start(tmp_path / "out")
    process.kill()
    process.wait()

    def interrupted(settled: bool) -> Any:
        with locked(tmp_path / "out", "training", "--output_dir") as lock:
            lock.settled = settled
            seen.append(lock.left)
            raise KeyboardInterrupt

    seen: list[Any] = []
    for settled in (False, False, True):
        with pytest.raises(KeyboardInterrupt):
            interrupted(settled)
    assert [(left["pid"], left["store"]) for left in seen] == [(process.pid, "s")] * 3
    with locked(tmp_path / "out", "training", "--output_dir") as lock:
        assert lock.left is None


def test_kill_9_releases_it_and_tells_what_was_left(tmp_path: Path) -> None:
    process = start(tmp_path / "out")
    process.kill()
    process.wait()
    with locked(tmp_path / "out", "training", "--output_dir") as lock:
        assert lock.left is not None
        assert (lock.left["pid"], lock.left["store"]) == (process.pid, "s")
        assert lock.left["token"] != lock.token
    assert not (tmp_path / "out" / NAME).exists()
    with locked(tmp_path / "out", "training", "--output_dir") as lock:
        assert lock.left is None


def test_those_that_were_killed_before_they_could_clean_up_are_handed_on(tmp_path: Path) -> None:
    """A process that takes over the lock of a killed one may be killed before it has closed that run."""
    tokens: list[str] = []
    for _ in range(3):
        process = start(tmp_path / "out")
        tokens.append(json.loads((tmp_path / "out" / NAME).read_text())["token"])
        process.kill()
        process.wait()
    with locked(tmp_path / "out", "training", "--output_dir") as lock:
        assert lock.left is not None
        assert [lock.left["token"], *(one["token"] for one in lock.left["left"])] == tokens[::-1]
    with locked(tmp_path / "out", "training", "--output_dir") as lock:
        assert lock.left is None


def test_a_process_that_nobody_waited_for_is_gone(tmp_path: Path) -> None:
    process = start(tmp_path / "out")
    process.kill()
    deadline = time.monotonic() + 30
    while (left := claim(tmp_path / "out" / NAME)) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left is not None
    left.close()
    with locked(tmp_path / "out", "training", "--output_dir") as lock:
        assert lock.left is not None
    process.wait()


def test_a_worker_that_outlives_its_process_holds_nothing(tmp_path: Path) -> None:
    process = start(tmp_path / "out", FORK)
    assert process.wait() == -signal.SIGKILL
    with locked(tmp_path / "out", "training", "--output_dir") as lock:
        assert lock.left is not None


def test_the_same_process_cannot_have_it_twice(tmp_path: Path) -> None:
    with (
        locked(tmp_path, "training", "--output_dir"),
        pytest.raises(UserError, match=f"process {os.getpid()}"),
        locked(tmp_path, "training", "--output_dir"),
    ):
        pass


def test_another_machine_is_believed_unless_force_is_given(tmp_path: Path) -> None:
    record(tmp_path / "out", host="elsewhere", boot="another", pid=12)
    with (
        pytest.raises(UserError, match=r"process 12 on elsewhere.*does not exist any more: --force true$"),
        locked(tmp_path / "out", "training", "--output_dir"),
    ):
        pass
    with locked(tmp_path / "out", "training", "--output_dir", force=True) as lock:
        assert lock.left is None  # its run may go on


@pytest.mark.parametrize(
    "changes",
    [{"host": "elsewhere"}, {"namespace": "pid:[1]"}, {"folder": "/moved/from/here"}],
    ids=["container", "namespace", "folder"],
)
def test_on_doubt_nothing_is_said_to_be_left(tmp_path: Path, changes: dict[str, Any]) -> None:
    """The system's lock is free, so the folder may be used, but it is uncertain whose run is left."""
    record(tmp_path / "out", pid=2**22 + 1, **changes)
    with locked(tmp_path / "out", "training", "--output_dir") as lock:
        assert lock.left is None


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="start times are read from /proc")
def test_a_number_that_was_given_to_another_process(tmp_path: Path) -> None:
    own = Identity.own()
    assert own.is_alive() is True
    record(tmp_path / "out", started=(own.started or 0) - 1)
    with locked(tmp_path / "out", "training", "--output_dir") as lock:
        assert lock.left is not None


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000, '{"pid": "x"}', "\0\0"], ids=range(6))
def test_a_record_that_cannot_be_read_is_no_obstacle(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    with locked(tmp_path, "training", "--output_dir") as lock:
        assert lock.left is None


def test_where_there_are_no_locks_the_record_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock_module.fcntl, "flock", none)
    record(tmp_path / "mine")
    with pytest.raises(UserError, match="in use"), locked(tmp_path / "mine", "training", "--output_dir"):
        pass
    record(tmp_path / "gone", pid=2**22 + 1)
    with locked(tmp_path / "gone", "training", "--output_dir") as lock:
        assert lock.left is not None
    record(tmp_path / "container", namespace="pid:[1]")
    with pytest.raises(UserError, match="--force true"), locked(tmp_path / "container", "training", "--output_dir"):
        pass


def test_folders_made_for_it_go_with_it(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "b", "training", "--output_dir"):
        pass
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "a" / "b", "training", "--output_dir"):
        (tmp_path / "a" / "x").touch()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["x"]


def test_a_file_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match="cannot be written to"), locked(tmp_path / "out", "training", "--output_dir"):
        pass


def test_a_folder_that_vanishes_meanwhile(tmp_path: Path) -> None:
    with locked(tmp_path / "out", "training", "--output_dir"):
        (tmp_path / "out" / NAME).unlink()
        (tmp_path / "out").rmdir()
    assert list(tmp_path.iterdir()) == []


def test_on_windows_two_that_claim_at_once_do_not_both_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows the open file is the lock: another process may create it between removal and creation by this one."""
    monkeypatch.setattr(lock_module, "fcntl", None)
    unlink = Path.unlink

    def overtaken(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        path.touch()

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", overtaken)
        assert claim(tmp_path / NAME) is None
    handle = claim(tmp_path / NAME)
    assert handle is not None

    def held(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "unlink", held)
    release(tmp_path / NAME, handle)
    assert handle.closed
