"""Speed and memory of all networks on a GPU (or a CPU), in all ways of computing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.measuring.gpu_run import run_groups


def gpu(
    minutes: Annotated[float, typer.Option(min=0.01, help="Time limit; groups that do not fit are skipped.")] = 9.0,
    out: Annotated[Path, typer.Option(help="File of the rows, one JSON object per line.")] = Path("gpu.jsonl"),
    device: Annotated[str, typer.Option(help="cuda or cpu. Default: a GPU if available.")] = "",
    only: Annotated[str, typer.Option(help="Text in the names of groups to measure, such as unet.")] = "",
    tiny: Annotated[bool, typer.Option("--tiny", help="Sizes for tests; figures are meaningless.")] = False,
) -> None:
    """Measure steps, loops and whole images of all networks in fp32, TF32, bf16, fp16, channels last and compiled.

    Needs only torch, NumPy, SciPy, MONAI and ignite. Each row is written as soon as it is measured. The next call
    resumes: it skips rows that the file has for this device and version of torch. Exits with 1 if rows are missing.
    """
    if run_groups(minutes, out, device, tiny, only):
        raise typer.Exit(1)
