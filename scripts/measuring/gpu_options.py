"""Options of `python -m scripts.benchmark gpu` where typer is not installed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from transforms.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0, 1 if rows are missing, or 2 after one line."""
    parser = argparse.ArgumentParser("python -m scripts.benchmark", description="typer is not installed: gpu alone")
    parser.add_argument("command", choices=["gpu"])
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--out", type=Path, default=Path("gpu.jsonl"))
    parser.add_argument("--device", default="")
    parser.add_argument("--only", default="")
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args(argv)
    from scripts.measuring.gpu_run import run_groups

    try:
        return int(run_groups(given.minutes, given.out, given.device, given.tiny, given.only) > 0)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
