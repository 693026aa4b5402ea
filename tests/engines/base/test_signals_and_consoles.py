"""Signals that end a run in order, and consoles that cannot or do not accept output."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from repository import ROOT

from engines.base import signals
from engines.base.console import Quiet, robust_console
from engines.base.machine_errors import MEMORY, SHARED, WORKER, errors_in_one_line, explain
from engines.base.signals import end_if_asked, ended_by_signals, handle_signals, interrupted
from engines.training.divergence import EVERY, LossWatch, check_weights
from engines.training.plan import Stage
from transforms.errors import UserError, user_error

HANDLED = [getattr(signal, name) for name in signals.NAMES if hasattr(signal, name)]


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a new process; put back afterwards."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in HANDLED}
    monkeypatch.setattr(signals, "_last", [-signals.PAUSE_SECONDS])
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", HANDLED, ids=lambda number: number.name)
def test_each_signal_is_a_ctrl_c(number: signal.Signals) -> None:
    handle_signals()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    signal.raise_signal(number)  # a second one at once does not cut short what the first began


@pytest.mark.usefixtures("handlers")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_a_destructor_swallowed_ends_the_run_at_its_next_iteration() -> None:
    class Worker:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    handle_signals()
    worker = Worker()
    del worker
    with pytest.raises(KeyboardInterrupt):
        end_if_asked()
    end_if_asked()
    signals._last[0] = -signals.PAUSE_SECONDS
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    handle_signals()  # a new run: what ended the one before is over
    end_if_asked()


@pytest.mark.usefixtures("handlers")
def test_sigbreak_gets_the_same_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows only: checks the registration, since the signal does not exist on this system."""
    installed = {}
    monkeypatch.setattr(signal, "SIGBREAK", 21, raising=False)
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_DFL)
    monkeypatch.setattr(signal, "signal", lambda number, handler: installed.update({number: handler}))
    handle_signals()
    assert installed[21] is interrupted


@pytest.mark.usefixtures("handlers")
def test_a_handler_that_someone_installed_stays() -> None:
    def mine(*_: object) -> None:
        pass

    signal.signal(signal.SIGUSR1, mine)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    handle_signals()
    assert signal.getsignal(signal.SIGUSR1) is mine
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is interrupted


@pytest.mark.usefixtures("handlers")
def test_another_handler_inside_a_block_alone() -> None:
    """As `scripts.share` and `scripts.crossval` have: SIGHUP is a SIGTERM there, and what someone installed stays."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    def mine(*_: object) -> None:
        pass

    signal.signal(signal.SIGUSR1, mine)
    signal.signal(signal.SIGUSR2, interrupted)  # of a run in this process
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        with pytest.raises(SystemExit, match=str(128 + number)), ended_by_signals(end):
            signal.raise_signal(number)
    with ended_by_signals(end):
        assert signal.getsignal(signal.SIGUSR1) is mine
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGUSR2) is interrupted


@pytest.mark.usefixtures("handlers")
def test_in_a_thread_nothing_is_installed() -> None:
    thread = threading.Thread(target=handle_signals)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


WRITER = """
import logging, os, sys, time
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
from engines.base.console import robust_console
robust_console()
for number in range(2000):
    logging.info("腫瘍 → %d %s", number, "x" * 200)
sys.stdout.flush()
"""


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_letters_that_a_console_lacks_become_question_marks(encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", WRITER], cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 0
    assert done.stderr == b""
    start = done.stdout.decode(encoding).split(" 0 ")[0]
    assert start == ("腫瘍 →" if encoding == "utf-8" else "?? ?")


def test_a_reader_that_goes_stops_nothing() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


def test_other_errors_of_logging_are_still_told(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("mammoseg.test")
    log.propagate = False
    log.addHandler(handler := logging.StreamHandler(io.StringIO()))
    robust_console()
    robust_console()
    try:
        log.warning("%d", "no number")
    finally:
        log.removeHandler(handler)
    assert "Logging error" in capsys.readouterr().err


def test_a_bar_on_a_terminal_that_has_gone() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.EIO, "Input/output error")

        def flush(self) -> None:
            raise OSError(errno.EIO, "Input/output error")

    quiet = Quiet(Gone())
    assert quiet.write("text") == 4
    quiet.flush()
    assert not quiet.isatty()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "m.pt"), "m.pt: No space left on device; make room"),
        (OSError(errno.EROFS, "Read-only file system"), "out: Read-only file system"),
        (OSError(errno.EIO, "Input/output error", "a.npy"), "a.npy: Input/output error"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible …"), SHARED),
        (RuntimeError("unable to write to file </torch_12_34_0>: No space left on device (28)"), SHARED),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), WORKER),
        (MemoryError(), MEMORY),
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), MEMORY),
    ],
    ids=["full", "read-only", "broken disk", "bus error", "shm", "killed", "memory", "GPU"],
)
def test_errors_of_the_machine_are_one_line(error: Exception, words: str) -> None:
    with (
        pytest.raises(UserError, match=r"; --resume true$") as raised,
        errors_in_one_line(Path("out"), lambda: "--resume true"),
    ):
        raise RuntimeError("Failed to evaluate") from error
    assert str(raised.value).startswith(words)
    assert "\n" not in str(raised.value)


def test_other_errors_are_left_as_they_are() -> None:
    assert explain(KeyError("x"), Path()) is None
    assert explain(BrokenPipeError(errno.EPIPE, "Broken pipe"), Path()) is None
    mine = UserError("mine")
    mine.__cause__ = OSError(errno.ENOENT, "No such file", "x")
    with pytest.raises(UserError, match=r"^mine$"), errors_in_one_line(Path("out")):
        raise mine


def test_a_user_error_of_a_worker_process_is_its_last_line() -> None:
    text = (
        "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File …\n"
        "transforms.errors.UserError: s1.npy: holds float32\n\nThe above exception was …\nRuntimeError: applying"
    )
    assert str(user_error(RuntimeError(text))) == "s1.npy: holds float32"
    assert user_error(RuntimeError("other")) is None


def test_a_training_that_diverges_in_its_last_step_ends_with_an_error() -> None:
    stage, network = Stage("front", 1, 8, 0.5), torch.nn.Linear(2, 2)
    watch, state = LossWatch(3), SimpleNamespace(epoch=1, iteration=7, epoch_length=100)
    watch.look(1.0, stage, state)
    for loss in (float("nan"), torch.tensor(float("inf")), 11.0):  # 10 log 3 = 10.99
        with pytest.raises(UserError, match=r"diverges: loss .* iteration 7; try a lower --learning_rate than 0\.5"):
            watch.look(loss, stage, state)
    check_weights(network, stage, 1)
    with torch.no_grad():
        network.bias[0] = float("nan")
    with pytest.raises(UserError, match=r"1 weights are NaN or infinite after epoch 1 of stage front, such as bias"):
        check_weights(network, stage, 1)


@pytest.mark.parametrize("gpu", [False, True])
def test_a_loss_is_too_large_by_the_scale_of_the_first_one(monkeypatch: pytest.MonkeyPatch, gpu: bool) -> None:
    """A batch without a valid pixel has loss 0 and no scale; a resumed training keeps the scale."""
    monkeypatch.setattr("engines.training.divergence.on_gpu", lambda device: gpu)
    stage = Stage("front", 2, 8, 0.5)

    def look(watch: LossWatch, losses: list[float], epoch: int) -> None:
        for number, loss in enumerate(losses, 1):
            state = SimpleNamespace(epoch=epoch, iteration=len(losses) * (epoch - 1) + number, epoch_length=len(losses))
            watch.look(torch.tensor(loss), stage, state)

    watch = LossWatch(3)
    look(watch, [0.0, 20.0, 199.0], epoch=1)
    assert watch.state() == {"first_loss": 20.0}
    resumed = LossWatch(3)
    resumed.restore(watch.state())
    for each in (watch, resumed):
        look(each, [2.0, 199.0, 2.0], epoch=2)
        with pytest.raises(UserError, match="diverges: loss 201 in stage front, epoch 3, iteration 8"):
            look(each, [2.0, 201.0, 2.0], epoch=3)
    with pytest.raises(UserError, match="diverges: loss 12 in stage front, epoch 1, iteration 2"):
        look(LossWatch(3), [0.5, 12.0], epoch=1)  # never below ten times the loss of guessing
    for first in (float("inf"), float("nan")):
        with pytest.raises(UserError, match=f"diverges: loss {first} in stage front, epoch 1, iteration 1"):
            look(LossWatch(3), [first, 1.0], epoch=1)
    earlier = LossWatch(3)
    earlier.restore({})  # of a version without it
    assert earlier.state() == {"first_loss": 0.0}


@pytest.mark.parametrize(("length", "asked"), [(5, 5), (200, EVERY)], ids=["end of the epoch", "long epoch"])
def test_losses_of_a_gpu_are_kept_there_until_it_is_asked_for_the_first_that_is_lost(
    monkeypatch: pytest.MonkeyPatch, length: int, asked: int
) -> None:
    monkeypatch.setattr("engines.training.divergence.on_gpu", lambda device: True)
    stage, watch = Stage("front", 2, 8, 0.5), LossWatch(3)
    for iteration in range(1, length + 1):  # an epoch without
        watch.look(torch.tensor(1.0), stage, SimpleNamespace(epoch=1, iteration=iteration, epoch_length=length))
    state = SimpleNamespace(epoch=2, iteration=length, epoch_length=length)
    said = rf"diverges: loss 12 in stage front, epoch 2, iteration {length + 2}; try a lower"
    with pytest.raises(UserError, match=said):  # noqa: PT012
        for loss in [1.0, 12.0, float("nan"), *[2.0] * length]:
            state.iteration += 1
            watch.look(torch.tensor(loss), stage, state)
    assert state.iteration == length + asked
