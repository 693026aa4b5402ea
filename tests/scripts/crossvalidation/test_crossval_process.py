"""An interrupted cross-validation lets the training of its fold end in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scripts.crossvalidation import process
from scripts.crossvalidation.process import run_training, terminable

POLITE = """
import pathlib, signal, sys, time
def end(number, frame):
    time.sleep(0.5)
    pathlib.Path(sys.argv[1]).write_text(signal.Signals(number).name)
    sys.exit(3)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, signal.SIG_IGN)
pathlib.Path(sys.argv[1] + ".started").touch()
time.sleep(60)
"""


def interrupted(how: signal.Signals, started: Path, words: list[str]) -> None:
    """Run the words in this process, which gets the signal as soon as they have begun."""

    def send() -> None:
        while not started.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), how)

    threading.Thread(target=send, daemon=True).start()
    with pytest.raises(KeyboardInterrupt), terminable():
        run_training(words)


def test_the_code_is_that_of_the_command() -> None:
    assert run_training([sys.executable, "-c", "raise SystemExit(7)"]) == 7


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_sigterm_is_handed_on_and_waited_for(tmp_path: Path) -> None:
    note = tmp_path / "note"
    interrupted(signal.SIGTERM, tmp_path / "note.started", [sys.executable, "-c", POLITE, str(note)])
    assert note.read_text() == "SIGTERM"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_training_that_does_not_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a terminal Ctrl-C also reaches the training; here the training ignores it."""
    monkeypatch.setattr(process, "SECONDS_TO_END", 0.3)
    children: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: children.append(real(*a, **k)) or children[-1])
    interrupted(signal.SIGINT, tmp_path / "note.started", [sys.executable, "-c", POLITE, str(tmp_path / "note")])
    assert children[0].returncode == -signal.SIGKILL
