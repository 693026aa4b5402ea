"""Output for the user during training."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from ignite.engine import Engine, Events

from engines.training import training_progress
from engines.training.training_progress import TrainingProgress, peak_memory_gb

NUMBER = r"\d+(?:\.\d+)?(?:e-?\d+)?"


def trained(every: int) -> Engine:
    """A trainer of two epochs with six iterations each, whose loss is 0.5."""
    engine = Engine(lambda engine, batch: [{"loss": 0.5}])
    engine.add_event_handler(Events.EPOCH_STARTED, lambda e: e.state.metrics.update(learning_rate=0.02))
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: e.state.metrics.update(train_loss=0.5, mean_iou=0.25))
    TrainingProgress(every=every).attach(engine)
    engine.run(range(6), max_epochs=2)
    return engine


def test_a_log_file_gets_plain_lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: False, write=len, flush=lambda: None))
    with caplog.at_level(logging.INFO, "mammoseg"):
        trained(every=3)
    lines = [record.getMessage() for record in caplog.records]
    inside = [line for line in lines if "iteration" in line]
    assert len(inside) == 4
    line = (
        rf"    epoch 2, iteration 3 of 6: loss 0.5000, learning rate 0.02, {NUMBER} it/s, {NUMBER} s left, {NUMBER} GB"
    )
    assert re.fullmatch(line, inside[2])
    assert not any("\r" in line or "\x1b" in line for line in lines)
    rows = [line.split() for line in lines if re.match(r" +\d+/\d", line)]
    assert [row[:4] for row in rows] == [["1/2", "0.5000", "0.02", "-"], ["2/2", "0.5000", "0.02", "-"]]
    assert rows[0][4] == "0.2500"


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    trained(every=3)
    bar = capsys.readouterr().err
    assert "loss=0.5" in bar
    assert "[1/6]" in bar  # the last ones may come faster than the bar is drawn


@pytest.mark.parametrize(("platform", "counted", "expected"), [("linux", 10**6, 1.024), ("darwin", 10**9, 1.0)])
def test_peak_memory_is_in_gb(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str, counted: int, expected: float
) -> None:
    """Linux counts units of 1024 bytes, macOS bytes; the file of Linux goes first."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=counted))
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(training_progress, "STATUS", tmp_path / "status")
    assert peak_memory_gb() == pytest.approx(expected)
    (tmp_path / "status").write_text("VmRSS:\t  1 kB\n")
    assert peak_memory_gb() == pytest.approx(expected)
    (tmp_path / "status").write_text("VmPeak:\t  9 kB\nVmHWM:\t  500000 kB\n")
    assert peak_memory_gb() == pytest.approx(0.512)
