"""Common entry point of all commands: run, and report errors in one line instead of a traceback."""

from __future__ import annotations

import errno
import gc
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
import typer.core
from typer.main import get_command_name
from typer.models import CommandInfo

from engines.base.console import forget, robust_console
from engines.base.signals import ended_by_signals, interrupted
from transforms.errors import UserError
from transforms.plain_text import one_line

_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")  # as NumPy reports a full disk


class Commands(typer.core.TyperGroup):
    """Command group that lists commands with their whole first sentence; typer cuts it to the terminal's width.

    Contexts are of click, or of the copy of click in newer versions of typer.
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
        """Return the first sentence of a command's help."""
        return first_sentence(self.commands.text(name) if isinstance(self.commands, Later) else "")


class Later(dict[str, Any]):
    """Commands by name, each built on first access: building a dozen with typer takes longer than everything else.

    Args:
        infos: typer's command information.
        tell: converts each help text to the text shown.
    """

    def __init__(self, infos: Sequence[CommandInfo], tell: Callable[[str], str] = str) -> None:
        super().__init__(
            {info.name or get_command_name(getattr(info.callback, "__name__", "")): info for info in infos}
        )
        self.tell = tell

    def text(self, name: str) -> str:
        """Return the help of a command without building it."""
        found = super().__getitem__(name)
        return self.tell(found.help or getattr(found.callback, "__doc__", None) or "")

    def __getitem__(self, name: str) -> Any:
        found = super().__getitem__(name)
        if isinstance(found, CommandInfo):
            alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
            alone.registered_commands.append(found)
            self[name] = found = typer.main.get_command(alone)
            found.help = self.tell(found.help or "")
            _keep_indented_lines(found)
        return found

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default

    def values(self) -> Any:
        return [self[name] for name in self]

    def items(self) -> Any:
        return [(name, self[name]) for name in self]


def first_sentence(text: str) -> str:
    """Return the first paragraph of a help text as one line."""
    return " ".join(text.split("\n\n")[0].split())


def run_app(
    app: typer.Typer, prog_name: str, argv: Sequence[str] | None = None, errors: type[Exception] = UserError
) -> int:
    """Run a command line and return its exit code.

    The code is 0 on success, or that of a `typer.Exit`; 130 after Ctrl-C, or a signal that is handled likewise. It is 2
    for invalid options, and, after one line on standard error, for one of `errors` or a failure of the file system.
    """
    robust_console()
    command = command_of(app)
    _keep_indented_lines(command)
    try:
        with ended_by_signals(interrupted):
            command(None if argv is None else list(argv), prog_name=prog_name)
    except SystemExit as end:  # typer has printed its help or the invalid option, but nothing after Ctrl-C
        if isinstance(getattr(end.__context__, "__cause__", None), KeyboardInterrupt):
            print("\nInterrupted.", file=sys.stderr)
        return int(end.code or 0)
    except errors as error:
        return _error(str(error))
    except BrokenPipeError:  # the reader has closed the pipe: `| head`
        forget(sys.stdout)
        return 1
    except OSError as error:
        return _error(disk_error(error))
    return 0


def disk_error(error: OSError) -> str:
    """Return the message of an error of the disk, with the file; of two, as in a copy, with the target."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT) or _CUT_SHORT.fullmatch(str(error)) is not None
    target = error.filename2 if full or error.errno == errno.EROFS else None
    name = target or error.filename
    what = f"{name}: " if name else ""
    if not full:
        return f"{what}{error.strerror or error}; check the disk and the permissions"
    what += error.strerror or os.strerror(errno.ENOSPC)
    return f"{what}; free space on the disk, and on that of the temporary folder {tempfile.gettempdir()}"


def command_of(app: typer.Typer, tell: Callable[[str], str] = str) -> Any:
    """Return the command of an app; subcommands of a `Commands` group are built on first access.

    Args:
        app: typer app.
        tell: converts each help text to the text shown.
    """
    if not (isinstance(app.info.cls, type) and issubclass(app.info.cls, Commands)):
        command: Any = typer.main.get_command(app)
        command.help = tell(command.help or "")
        return command
    infos, app.registered_commands = app.registered_commands, []
    try:
        group: Any = (typer.main.get_command if app.registered_callback else typer.main.get_group)(app)
    finally:
        app.registered_commands = infos
    group.commands = Later(infos, tell)
    for option in group.params:  # options of shell completion: see `Commands.get_help_option`
        if getattr(option, "is_flag", False) and option.default is None:
            option.default = False
    group.help = tell(group.help or "")
    return group


@contextmanager
def without_collector() -> Iterator[None]:
    """Disable cyclic garbage collection in the block, for a command that keeps most of its objects until its end.

    With the objects of torch and MLflow in memory each collection is slow, and thousands of new objects, as from
    imports and database rows, trigger many collections.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _keep_indented_lines(command: Any) -> None:
    """Keep the line breaks of indented paragraphs in the help: click rewraps paragraphs that do not begin with \\b."""
    if command.help:
        paragraphs = command.help.split("\n\n")
        command.help = "\n\n".join(f"\b\n{text}" if text.startswith(" ") else text for text in paragraphs)
    if not isinstance(getattr(command, "commands", {}), Later):
        for subcommand in getattr(command, "commands", {}).values():
            _keep_indented_lines(subcommand)


def _error(text: str) -> int:
    print(f"error: {one_line(text)}", file=sys.stderr)
    return 2
