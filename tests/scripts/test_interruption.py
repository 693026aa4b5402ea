"""Ctrl-C in a command of `scripts`."""

from __future__ import annotations

import signal

import pytest
import typer

from engines.base import signals
from scripts.commandline import run_app
from scripts.comparison.command_options import resumed_by_repeating


def ended(how: str) -> int:
    """Run a command that is interrupted, and return its exit code."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def command() -> None:
        if how == "own words":
            with resumed_by_repeating():
                raise KeyboardInterrupt
        if how in signals.NAMES:
            signal.raise_signal(getattr(signal, how))
        if how == "code":
            raise typer.Exit(130)
        raise KeyboardInterrupt

    return run_app(app, "interrupted", [])


@pytest.mark.parametrize(
    ("how", "printed"),
    [
        ("no words", "\nInterrupted.\n"),
        ("own words", "\nInterrupted. To resume, repeat the command.\n"),
        ("code", ""),
        *((name, "\nInterrupted.\n") for name in signals.NAMES if hasattr(signal, name)),
    ],
)
def test_ctrl_c_and_other_signals_are_reported_once(
    how: str, printed: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "_last", [-signals.PAUSE_SECONDS])
    monkeypatch.setattr(signals, "_asked", [False])
    assert ended(how) == 130
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert capsys.readouterr().err == printed
