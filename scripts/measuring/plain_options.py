"""Options of `python -m scripts.benchmark gpu`, `evidence` and `peers` where typer is not installed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transforms.errors import UserError

DESCRIPTION = "without typer: only gpu, evidence and peers"
LEAST = {"minutes": 0.01, "at_once": 1, "folds": 1, "seeds": 1, "repeats": 1, "threads": 1}
"""Smallest values of options, as with typer; see `scripts.benchmarks`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 0, 1 if rows are missing, or 2 after a one-line error."""
    parser = argparse.ArgumentParser("python -m scripts.benchmark", description=DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True)
    gpu, evidence, peers = (commands.add_parser(name) for name in ("gpu", "evidence", "peers"))
    gpu.add_argument("--minutes", type=float, default=9.0)
    gpu.add_argument("--out", type=Path, default=Path("gpu.jsonl"))
    gpu.add_argument("--only", default="")
    evidence.add_argument("--minutes", type=float, default=8.0)
    evidence.add_argument("--at-once", type=int, default=8)
    evidence.add_argument("--recipe", default="tissue")
    evidence.add_argument("--folds", type=int, default=5)
    evidence.add_argument("--seeds", type=int, default=3)
    evidence.add_argument("--out", type=Path, default=Path("evidence.jsonl"))
    peers.add_argument("--recipes", default="quick,tissue")
    peers.add_argument("--repeats", type=int, default=5)
    peers.add_argument("--threads", type=int, default=1)
    for command in (gpu, evidence, peers):
        command.add_argument("--device", default="")
    for command in (gpu, evidence):
        command.add_argument("--tiny", action="store_true")
    for command in (evidence, peers):
        command.add_argument("--json", action="store_true", dest="as_json")
    given = vars(parser.parse_args(argv))
    try:
        for name, least in LEAST.items():
            if not given.get(name, least) >= least:  # also NaN
                raise UserError(f"--{name.replace('_', '-')} {given[name]}: expected at least {least}")
        return _run(given.pop("command"), given)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(command: str, given: dict[str, Any]) -> int:
    if command == "gpu":
        from scripts.measuring.gpu_run import run_groups

        return int(run_groups(**given) > 0)
    if command == "evidence":
        from scripts.measuring.evidence_run import run_evidence

        run_evidence(**given)
    else:
        from scripts.measuring.peer_steps import compare_steps

        compare_steps(**given)
    return 0
