"""The performance figures of docs/results.md, each from one command.

    python -m scripts.benchmark NAME [--json]

Each file of `scripts/benchmarks` is one benchmark: its function of the file's own name is the command. Nothing is
kept; the table goes to the terminal.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Sequence
from pathlib import Path

import click
import typer

from scripts.commandline import run_app

FOLDER = Path(__file__).with_name("benchmarks")


class Benchmarks(typer.core.TyperGroup):
    """The files of the folder as commands; only the one that is run is imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(path.stem.replace("_", "-") for path in FOLDER.glob("*.py"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = cmd_name.replace("-", "_")
        if not (FOLDER / f"{name}.py").is_file():
            return None
        own = typer.Typer(add_completion=False, rich_markup_mode=None)
        own.command(cmd_name)(getattr(importlib.import_module(f"scripts.benchmarks.{name}"), name))
        return typer.main.get_command(own)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _summary(name.replace("-", "_"))) for name in self.list_commands(ctx)])


def _summary(name: str) -> str:
    """First line of the command's docstring, read without importing the file."""
    for node in ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return (ast.get_docstring(node) or "").splitlines()[0]
    raise LookupError(f"{name}.py: no function of that name")


app = typer.Typer(cls=Benchmarks, add_completion=False, help=__doc__, rich_markup_mode=None)


@app.callback()
def benchmark() -> None:
    """Measure what docs/results.md states."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after a one-line error."""
    return run_app(app, "python -m scripts.benchmark", argv, ValueError)


if __name__ == "__main__":
    raise SystemExit(main())
