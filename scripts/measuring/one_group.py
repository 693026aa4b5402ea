"""Measure one group of rows in a separate process.

Reads a task from standard input: {"group": "step fcn quick", "ways": ["fp32"], "device": "cuda", "tiny": false}.
Writes the rows to standard output, each as a line of JSON after `MARK`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch

from scripts.measuring.gpu_groups import groups
from scripts.measuring.loop_rows import loop_rows
from scripts.measuring.rows import Row
from scripts.measuring.step_rows import image_rows, step_rows

MARK = "ROW "
"""Prefix of a line with a row."""
KINDS = {"step": step_rows, "compiled": step_rows, "image": image_rows, "loop": loop_rows}


def rows_of(task: dict[str, Any]) -> Iterator[Row]:
    """Measure the rows of a task."""
    (group,) = (group for group in groups(task["tiny"]) if group.name == task["group"])
    wanted = {way: group.ways[way] for way in task["ways"]}
    yield from KINDS[group.kind](group, wanted, torch.device(task["device"]), task["tiny"])


def main() -> int:
    """Print the rows as they are measured."""
    for row in rows_of(json.loads(sys.stdin.readline())):
        print(MARK + json.dumps(asdict(row)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
