"""Ctrl-C in a command of `scripts`."""

from __future__ import annotations

import pytest
import typer

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
    ],
)
def test_ctrl_c_is_reported_once(how: str, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(how) == 130
    assert capsys.readouterr().err == printed
