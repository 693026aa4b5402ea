"""Check this machine and installation, and suggest a remedy for each problem.

    python -m scripts.doctor [--json]

Prints one line each for versions, device, memory, disk, threads, decoders, tracking store and write permissions. The
exit code is 0, or 1 if a problem would prevent training or import. Nothing is changed or sent.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from scripts.commandline import run_app

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(help=__doc__)
def command(as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Only the signature is used; the help is the module docstring."""
    from scripts.checkup.machine_findings import PROBLEM, checkup  # seconds: torch, MLflow

    found = checkup()
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=1))
    else:
        for each in found:
            print(f"{each.state:<8} {each.name:<14} {each.text}")
            if each.remedy:
                print(f"{'':<24}→ {each.remedy}")
    if any(each.state == PROBLEM for each in found):
        raise typer.Exit(1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 if there is a problem."""
    return run_app(app, "python -m scripts.doctor", argv)


if __name__ == "__main__":
    raise SystemExit(main())
