"""Options of `python -m scripts.benchmark gpu` and `evidence` where typer is not installed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from transforms.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0, 1 if rows are missing, or 2 after one line."""
    parser = argparse.ArgumentParser("python -m scripts.benchmark", description="without typer: gpu and evidence alone")
    commands = parser.add_subparsers(dest="command", required=True)
    gpu, evidence = commands.add_parser("gpu"), commands.add_parser("evidence")
    gpu.add_argument("--minutes", type=float, default=9.0)
    gpu.add_argument("--out", type=Path, default=Path("gpu.jsonl"))
    gpu.add_argument("--only", default="")
    evidence.add_argument("--minutes", type=float, default=8.0)
    evidence.add_argument("--at-once", type=int, default=8)
    evidence.add_argument("--recipe", default="tissue")
    evidence.add_argument("--folds", type=int, default=5)
    evidence.add_argument("--seeds", type=int, default=3)
    evidence.add_argument("--json", action="store_true", dest="as_json")
    for command in (gpu, evidence):
        command.add_argument("--device", default="")
        command.add_argument("--tiny", action="store_true")
    given = vars(parser.parse_args(argv))
    try:
        if given.pop("command") == "gpu":
            from scripts.measuring.gpu_run import run_groups

            return int(run_groups(**given) > 0)
        from scripts.measuring.evidence_run import run_evidence

        run_evidence(**given)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
