"""`python -m scripts.benchmark gpu` at tiny sizes, and with the few packages that a GPU machine may have."""

from __future__ import annotations

import json
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from repository import ROOT

from scripts import benchmark
from scripts.measuring import gpu_run, rows
from scripts.measuring.gpu_groups import groups
from scripts.measuring.timing import measured as measured_rows

ALONE = """
import importlib.machinery, sys
NEEDED = {"torch", "numpy", "scipy", "monai", "ignite"}
THEIRS = {"packaging", "typing_extensions", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "fsspec", "filelock",
          "torchgen", "functorch", "triton"}
OURS = {"engines", "nets", "transforms", "scripts"}
class Installed(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        top = name.split(".")[0]
        known = top in NEEDED | THEIRS | OURS or top in sys.stdlib_module_names or top.startswith("_")
        return super().find_spec(name, path, target) if known else None
sys.meta_path = [importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter, Installed]
from scripts import benchmark
assert benchmark.app is None
assert benchmark.main(["gpu", "--device", "cuda"]) == 2
assert benchmark.main(["evidence", "--device", "cuda"]) == 2
from scripts.measuring.one_group import rows_of
import json
for name, ways in json.loads(sys.argv[1]).items():
    for row in rows_of({"group": name, "ways": ways, "device": "cpu", "tiny": True}):
        print(row.group, "|", row.way, "|", row.note if row.seconds is None else "measured")
"""


def test_it_needs_torch_numpy_scipy_monai_and_ignite_alone() -> None:
    task = {
        "step unet quick": ["fp32", "tf32", "bf16", "bf16, channels last"],
        "image deeplabv3 1024 x 832": ["bf16"],
        "loop dilation10 quick": ["as trained by default"],
        "loop fcn paper": ["as trained by default"],
    }
    words = [sys.executable, "-c", ALONE, json.dumps(task)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == [
        "step unet quick | fp32 | measured",
        "step unet quick | tf32 | needs a GPU",
        "step unet quick | bf16 | measured",
        "step unet quick | bf16, channels last | --channels_last true: PyTorch may crash with it on a CPU "
        "(docs/options.md); give auto",
        "image deeplabv3 1024 x 832 | bf16 | measured",
        "loop dilation10 quick | as trained by default | measured",
        "loop fcn paper | as trained by default | measured",
    ]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """The groups that were measured, in no time, and their ways; tf32 cannot be."""
    calls: list[tuple[str, list[str]]] = []

    def measure(starts: gpu_run.Starts, task: dict[str, Any], room: float, out: Path) -> None:
        calls.append((task["group"], task["ways"]))
        about: dict[str, Any] = {
            "group": task["group"],
            "batch": "1",
            "device": gpu_run.device_name(torch.device(task["device"])),
            "torch": torch.__version__,
        }
        for way in task["ways"]:
            known = {} if way == "tf32" else {"seconds": 0.5, "low": 0.5, "high": 0.5}
            rows.append(out, rows.Row(**about, way=way, **known, note="" if known else "needs a GPU"))

    monkeypatch.setattr(gpu_run, "_measure", measure)
    return calls


def test_the_next_call_goes_on(
    measured: list[tuple[str, list[str]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["gpu", "--out", str(tmp_path / "new" / "rows.jsonl"), "--device", "cpu", "--only", "unet"]
    assert benchmark.main([*words, "--minutes", "1"]) == 1
    first = [name for name, _ in measured]
    assert first == [g.name for g in groups() if g.network == "unet" and g.seconds <= 60]
    assert "not run: compiled unet paper, 1 rows: 60 s left, may take 90" in capsys.readouterr().out
    measured.clear()
    assert benchmark.main([*words, "--minutes", "9"]) == 1  # tf32 is tried again
    assert [call for call in measured if "compiled" not in call[0]] == [
        (g.name, ["tf32"]) for g in groups() if g.network == "unet" and "tf32" in g.ways
    ]
    assert len(measured) == 6
    assert benchmark.main([*words, "--only", "net9"]) == 2
    assert "--only net9: matches no group" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["gpu", "evidence", "peers"])
@pytest.mark.parametrize("device", ["cuda:99", "graphics"])
def test_a_device_that_is_not_there_is_one_line(
    command: str, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # where `gpu` keeps its rows
    assert benchmark.main([command, "--device", device]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --device {device}: ")


def test_a_line_cut_off_is_left_out_and_another_file_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = rows.Row("step unet quick", "fp32", "1", "cpu", "2", seconds=1.0)
    rows.append(path, row)
    with path.open("a") as file:
        file.write('{"group": "st')
    assert rows.read(path) == [row]
    rows.append(path, row)
    assert rows.read(path) == [row, row]
    path.write_text("a\nb\n")
    with pytest.raises(Exception, match="line 1 is not a measured row"):
        rows.read(path)


def test_the_next_process_starts_ahead_and_none_is_left() -> None:
    starts = gpu_run.Starts(ahead=True)
    first = starts.next()
    waiting = starts._waiting
    starts.end()
    assert waiting is not None
    assert waiting is not first
    assert waiting.returncode is not None
    first.communicate(json.dumps({"group": "step unet quick", "ways": [], "device": "cpu", "tiny": True}) + "\n")
    assert first.returncode == 0


def test_time_over_ends_the_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (group,) = (g for g in groups(tiny=True) if g.name == "step unet quick")
    task = {"group": group.name, "ways": list(group.ways), "device": "cpu", "tiny": True}
    gpu_run._measure(gpu_run.Starts(ahead=False), task, 0.1, tmp_path / "rows.jsonl")
    assert "step unet quick: ended with code -9 (time limit reached)" in capsys.readouterr().out
    assert rows.read(tmp_path / "rows.jsonl") == []


def test_memory_of_one_way_holds_nothing_of_the_way_before() -> None:
    (group,) = (g for g in groups(tiny=True) if g.name == "step unet quick")
    networks: list[weakref.ref[torch.nn.Module]] = []

    def make(options: Mapping[str, Any]) -> tuple[Callable[[], Any], int, str]:
        assert [each() for each in networks] == [None] * len(networks)
        network = torch.nn.Conv2d(1, 1, 1)
        networks.append(weakref.ref(network))
        return lambda: network(torch.zeros(1, 1, 1, 1)), 1, "1"

    wanted = {way: group.ways[way] for way in ("fp32", "bf16", "fp16")}
    made = list(measured_rows(group, wanted, make, torch.device("cpu"), tiny=True))
    assert [(row.way, row.seconds is not None) for row in made] == [(way, True) for way in wanted]
