"""Table of all speed targets: runs the other benchmarks one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.measuring.target_table import run_tasks


def table(
    out: Annotated[Path, typer.Option(help="File of measurements, one JSON object per line.")] = Path("table.jsonl"),
    minutes: Annotated[float, typer.Option(min=0, help="No benchmark starts later; 0 only prints the file.")] = 60.0,
    only: Annotated[str, typer.Option(help="Text in the names of the benchmarks to run, such as loop.")] = "",
    peers_python: Annotated[
        Path | None, typer.Option("--peers_python", help="Python of an environment with segmentation_models_pytorch.")
    ] = None,
    gpu_rows: Annotated[
        Path | None, typer.Option("--gpu_rows", help="File of `benchmark gpu` from a machine with a GPU.")
    ] = None,
) -> None:
    """Run the benchmarks that have a target, and print one table in Markdown.

    Each is a separate process with one thread, and is written as soon as it is measured. The next call resumes: it
    skips benchmarks that the file has for this device and version of torch. Missing benchmarks are listed as "not run".
    """
    run_tasks(out, minutes, only, peers_python, gpu_rows)
