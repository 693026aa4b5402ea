"""Common entry of all commands: run, and end with one line instead of a traceback."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
import typer.core

from engines.base.console import forget, robust_console
from transforms.errors import UserError
from transforms.plain_text import one_line


class Commands(typer.core.TyperGroup):
    """Commands, listed with their whole first sentence: typer cuts it to the width of a terminal.

    Contexts are click's, which newer versions of typer have a copy of.
    """

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False  # without a default, typer imports pydantic to convert None
        return option

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = [(name, self.summary(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def summary(self, ctx: Any, name: str) -> str:
        """First sentence of a command's help."""
        found = self.get_command(ctx, name)
        return " ".join(((found and found.help) or "").split("\n\n")[0].split())


def run_app(
    app: typer.Typer, prog_name: str, argv: Sequence[str] | None = None, errors: type[Exception] = UserError
) -> int:
    """Run a command line and return its exit code.

    0 when all went well; what the command says with `typer.Exit`; 2, after one line on the error stream, for
    options that do not fit, one of the `errors`, or a disk that does not let us.
    """
    robust_console()
    command = typer.main.get_command(app)
    _keep_indented_lines(command)
    try:
        command(None if argv is None else list(argv), prog_name=prog_name)
    except SystemExit as end:  # typer has printed its help, or what is wrong with the options
        return int(end.code or 0)
    except errors as error:
        return _error(str(error))
    except BrokenPipeError:  # nobody reads any further: `| head`
        forget(sys.stdout)
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _error(f"{where}{error.strerror or error}; check the disk and its rights")
    return 0


@contextmanager
def without_collector() -> Iterator[None]:
    """No search for unreachable cycles in the block, for a command that keeps most of what it makes until its end.

    Beside the objects of torch and MLflow each search takes long, and thousands of new ones, as of imports and of rows
    of a database, start many.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _keep_indented_lines(command: Any) -> None:
    """Have the help show indented paragraphs line by line: click would fill their lines, unless they begin with \\b."""
    if command.help:
        paragraphs = command.help.split("\n\n")
        command.help = "\n\n".join(f"\b\n{text}" if text.startswith(" ") else text for text in paragraphs)
    for subcommand in getattr(command, "commands", {}).values():
        _keep_indented_lines(subcommand)


def _error(text: str) -> int:
    print(f"error: {one_line(text)}", file=sys.stderr)
    return 2
