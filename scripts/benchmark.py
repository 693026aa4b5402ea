"""Measure the performance figures of docs/results.md, one command per figure.

    python -m scripts.benchmark NAME [--json]

Each file of `scripts/benchmarks` is one benchmark; its command is the function named like the file. The table is
printed; `gpu`, `evidence` and `table` also keep their rows in a file and resume.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

try:
    from scripts.measuring.commands import app
except ModuleNotFoundError as missing:
    if missing.name != "typer":
        raise
    app: Any = None  # type: ignore[no-redef]  # an environment with only torch and MONAI


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 after a one-line error. Without typer only `gpu`, `evidence` and `peers` run."""
    if app is None:
        from scripts.measuring.plain_options import main as without_typer

        return without_typer(argv)
    from scripts.commandline import run_app

    return run_app(app, "python -m scripts.benchmark", argv, ValueError)


if __name__ == "__main__":
    raise SystemExit(main())
