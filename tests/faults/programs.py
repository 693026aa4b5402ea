"""Stubs of programs that a file could have started, first on PATH: each leaves a line in a trace."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PROGRAMS = (
    *("gs", "gswin64c", "gswin32c", "convert", "magick", "djpeg", "cjpeg", "dcmdjpeg", "ffmpeg", "xv", "display"),
    *("inkscape", "gm", "xdg-open", "curl", "wget", "lp", "git-annex", "unzip", "gunzip", "7z"),
)
TRACE = "FAULTS_TRACE"


def install(folder: Path) -> None:
    """Put the stubs first on this process's PATH, which its children have too."""
    stubs, trace = folder / "programs", folder / "executed.txt"
    stubs.mkdir(parents=True, exist_ok=True)
    for name in PROGRAMS:
        program = stubs / name
        program.write_text(f"#!/bin/sh\necho {name} \"$@\" >> '{trace}'\n")
        program.chmod(0o755)
    os.environ["PATH"] = f"{stubs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ[TRACE] = str(trace)


def executed() -> list[str]:
    """What was started so far, or done by content that was executed."""
    trace = Path(os.environ[TRACE])
    return trace.read_text().splitlines() if trace.is_file() else []
