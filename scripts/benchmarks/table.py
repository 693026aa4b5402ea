"""All targets of speed in one table: the other benchmarks, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.measuring.target_table import run_tasks


def table(
    out: Annotated[Path, typer.Option(help="File of what was measured, one JSON object a line.")] = Path("table.jsonl"),
    minutes: Annotated[float, typer.Option(min=0, help="No benchmark is begun after; 0 only prints the file.")] = 60.0,
    only: Annotated[str, typer.Option(help="Text in the names of the benchmarks to run, such as loop.")] = "",
    peers_python: Annotated[
        Path | None, typer.Option("--peers_python", help="Python of an environment with segmentation_models_pytorch.")
    ] = None,
    gpu_rows: Annotated[
        Path | None, typer.Option("--gpu_rows", help="File of `benchmark gpu`, made on a machine with one.")
    ] = None,
) -> None:
    """Run the benchmarks that have a target, and print one table in Markdown.

    Each is a process of its own with one thread and is written as soon as it is measured; what the file has of this
    device and version of torch is not measured again, so that the next call goes on. What is missing is "not run".
    """
    run_tasks(out, minutes, only, peers_python, gpu_rows)
