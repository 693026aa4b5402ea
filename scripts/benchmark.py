"""The performance figures of docs/results.md, each from one command.

    python -m scripts.benchmark NAME [--json]

Each file of `scripts/benchmarks` is one benchmark: its function of the file's own name is the command. Nothing is
kept; the table goes to the terminal.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

import typer

from scripts.commandline import run_app

app = typer.Typer(add_completion=False, help=__doc__, rich_markup_mode=None)


@app.callback()
def benchmark() -> None:
    """Measure what docs/results.md states."""


for path in sorted(Path(__file__).with_name("benchmarks").glob("*.py")):
    app.command()(getattr(importlib.import_module(f"scripts.benchmarks.{path.stem}"), path.stem))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after a one-line error."""
    return run_app(app, "python -m scripts.benchmark", argv, ValueError)


if __name__ == "__main__":
    raise SystemExit(main())
