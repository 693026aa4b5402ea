"""Faults by the hundred: kills, hostile files, planted identifiers, thousands of epochs. Takes up to an hour.

    python tests/faults [--seed N] [--only kills,hostile,canaries,epochs] [--kills 250] [--files 1100] [--epochs 2000]
                        [--out build/faults] [--fresh]

`make test-faults` runs it. The same command again goes on where it was interrupted. Prints and writes
OUT/seed-N/summary.txt and summary.json; exit code 1 if there was a fault. See docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PARTS = ("kills", "hostile", "canaries", "epochs")


def main() -> int:
    """Run the parts that are asked for."""
    options = _options()
    folder = options.out.resolve() / f"seed-{options.seed}"
    if options.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    _environment(folder)
    import parts

    state = State(folder / "results.jsonl")
    faults = 0
    for name in options.only:
        start = time.monotonic()
        print(f"== {name}", flush=True)
        found = getattr(parts, name)(folder / name, state, options)
        state.add(name, "seconds", {"seconds": round(time.monotonic() - start)}, again=True)
        found["seconds"] = sum(one["seconds"] for one in state.of(name, "seconds"))
        _report(folder, options.seed, {name: found})
        faults += len(found["faults"])
    print((folder / "summary.txt").read_text())
    return int(faults > 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(PARTS))
    parser.add_argument("--kills", type=int, default=250)
    parser.add_argument("--files", type=int, default=1100)
    parser.add_argument("--epochs", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "faults")
    parser.add_argument("--fresh", action="store_true", help="forget what an interrupted run found")
    options = parser.parse_args()
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"--only {', '.join(unknown)}: expected {', '.join(PARTS)}")
    return options


def _environment(folder: Path) -> None:
    """One thread, no network, and the stubs of other programs first on PATH."""
    from programs import install

    os.environ.update(OMP_NUM_THREADS="1", MLFLOW_DISABLE_TELEMETRY="true", PYTHONPATH=str(ROOT))
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'nobody.db'}"
    os.environ["HOME"] = str(folder / "home")
    install(folder)
    os.chdir(ROOT)
    sys.path[1:1] = [str(ROOT), str(ROOT / "tests")]


class State:
    """Results so far, one JSON line each, so that an interrupted run goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self.lines: list[dict[str, Any]] = [json.loads(line) for line in lines if line.endswith("}")]

    def of(self, part: str, kind: str) -> list[dict[str, Any]]:
        """All results of a kind."""
        return [one for one in self.lines if (one["part"], one["kind"]) == (part, kind)]

    def done(self, part: str, kind: str, number: int | str) -> bool:
        """Whether one is there."""
        return any(one["number"] == number for one in self.of(part, kind))

    def add(self, part: str, kind: str, result: dict[str, Any], number: int | str = 0, again: bool = False) -> None:
        """Write one down."""
        line = {"part": part, "kind": kind, "number": number, **result}
        if again or not self.done(part, kind, number):
            self.lines.append(line)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def _report(folder: Path, seed: int, found: dict[str, Any]) -> None:
    """Put what a part found into the summaries, in which those of the other parts stay."""
    path = folder / "summary.json"
    before = json.loads(path.read_text()) if path.is_file() else {}
    everything = {**before, "seed": seed, **found}
    path.write_text(json.dumps(everything, indent=1) + "\n")
    lines = [f"seed {seed}"]
    for part in PARTS:
        for name, value in everything.get(part, {}).items():
            shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
            shown = "".join(f"\n    {one}" for one in value) or "none" if isinstance(value, list) else shown
            lines.append(f"{part:9} {name:40} {shown}")
    (folder / "summary.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
