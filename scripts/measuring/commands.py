"""The files of `scripts/benchmarks` as commands of `python -m scripts.benchmark`."""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

from scripts.commandline import Commands, first_sentence

HELP = """Measure the performance figures of docs/results.md, one command per figure.

    python -m scripts.benchmark NAME [--json]

Each file of `scripts/benchmarks` is one benchmark; its command is the function named like the file. Nothing is
stored; the table is printed.
"""

FOLDER = Path(__file__).parents[1] / "benchmarks"


class Benchmarks(Commands):
    """One command per file of the folder; a file is imported to run it, not to show its help."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(path.stem.replace("_", "-") for path in FOLDER.glob("*.py"))

    def summary(self, ctx: Any, name: str) -> str:
        function = name.replace("-", "_")
        source = (FOLDER / f"{function}.py").read_text(encoding="utf-8")
        return first_sentence(source.partition(f"\ndef {function}(")[2].split('"""', 2)[1])  # faster than a parser

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        name = cmd_name.replace("-", "_")
        if not (FOLDER / f"{name}.py").is_file():
            return None
        own = typer.Typer(add_completion=False, rich_markup_mode=None)
        own.command(cmd_name)(deferred(FOLDER / f"{name}.py"))
        return typer.main.get_command(own)


def deferred(path: Path) -> Callable[..., Any]:
    """Return the function named like the file, with its options and docstring; the call imports the file."""
    name, module = path.stem, ast.parse(path.read_text(encoding="utf-8"))
    found = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == name]
    if not found:
        raise LookupError(f"{path.name}: no function of that name")
    function = found[0]
    function.body = function.body[:1]  # its docstring
    head = ast.Module([*_defining(_names(function.args), module.body), function], [])
    signature: dict[str, Any] = {"__name__": f"scripts.benchmarks.{name}"}
    exec(compile(ast.fix_missing_locations(head), str(path), "exec"), signature)

    @functools.wraps(signature[name])
    def run(**values: Any) -> Any:
        return getattr(importlib.import_module(f"scripts.benchmarks.{name}"), name)(**values)

    return run


def _defining(names: set[str], body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Return the top-level imports and assignments of a file that define the names."""
    kept: list[ast.stmt] = []
    for statement in reversed(body):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            statement.names = [each for each in statement.names if (each.asname or each.name) in names]
            if statement.names:
                kept.append(statement)
        elif isinstance(statement, ast.Assign) and names & _names(*statement.targets):
            names |= _names(statement.value)
            kept.append(statement)
    return kept[::-1]


def _names(*nodes: ast.AST) -> set[str]:
    return {each.id for node in nodes for each in ast.walk(node) if isinstance(each, ast.Name)}


app = typer.Typer(cls=Benchmarks, add_completion=False, help=HELP, rich_markup_mode=None)


@app.callback()
def benchmark() -> None:
    """Measure the figures of docs/results.md."""
