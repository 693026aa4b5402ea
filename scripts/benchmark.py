"""The performance figures of docs/results.md, each from one command.

    python -m scripts.benchmark NAME [--json]

Each file of `scripts/benchmarks` is one benchmark: its function of the file's own name is the command. Nothing is
kept; the table goes to the terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

try:
    from scripts.measuring.commands import app
except ModuleNotFoundError as missing:
    if missing.name != "typer":
        raise
    app: Any = None  # type: ignore[no-redef]  # a machine with torch and MONAI alone


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after a one-line error. Without typer there are `gpu`, `evidence` and `peers` alone."""
    if app is None:
        from scripts.measuring.plain_options import main as without_typer

        return without_typer(argv)
    from scripts.commandline import run_app

    return run_app(app, "python -m scripts.benchmark", argv, ValueError)


if __name__ == "__main__":
    raise SystemExit(main())
