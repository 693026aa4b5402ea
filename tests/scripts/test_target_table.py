"""`python -m scripts.benchmark table`: benchmarks run, entries stored, and the table; nothing is measured."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts import benchmark
from scripts.measuring import target_table
from scripts.measuring.rows import Row
from scripts.measuring.targets import Line, Task, gpu_lines, tasks

LOOP = {
    "bundle": "unet",
    "batch": "8 x 160 x 160",
    "real": 0.25,
    "bare": 0.2,
    "memory": 0.2,
    "monai": 0.21,
    "ratios": [0.8, 0.9, 0.7],
    "peer_ratios": [1.05, 1.0],
    "gemm": [0.5],
}
START = [
    {"name": "bare", "seconds": 0.1, "fastest": 0.1, "slowest": 0.1, "ratio": 1.0},
    {"name": "a --help", "seconds": 0.12, "fastest": 0.1, "slowest": 0.2, "ratio": 1.2},
    {"name": "b --help", "seconds": 0.14, "fastest": 0.1, "slowest": 0.2, "ratio": 1.4},
    {"name": "libraries", "seconds": 4.0, "fastest": 4, "slowest": 4, "ratio": 1.0},
    {"name": "libraries, and a store", "seconds": 4.5, "fastest": 4, "slowest": 5, "ratio": 1.125},
    {"name": "training", "seconds": 5.0, "fastest": 5, "slowest": 5, "ratio": 1.25},
]


def lines_of(name: str, found: Any) -> list[Line]:
    (task,) = (task for task in tasks() if task.name == name)
    return list(task.read(found))


def test_lines_of_figures() -> None:
    first, second, third = lines_of("loop unet quick", [LOOP])
    assert (first.ratio, first.target) == ("0.80 (0.70 to 0.90)", "≥ 0.90")
    assert (second.against, second.ratio, second.target) == ("MONAI's trainer, 0.210 s", "1.02 (1.00 to 1.05)", "≥ 1.0")
    assert third.ratio == "0.50 (0.50 to 0.50)"
    helps, first_iteration = lines_of("start", START)
    assert (helps.what, helps.ratio) == ("slowest of 2 --help", "1.40")
    assert first_iteration.ratio == "1.25 (+1.00 s)"


def test_the_largest_store_counts() -> None:
    few = {"runs": 10, "compare": [2.0], "search": [2.0]}
    many = {"runs": 1000, "compare": [3.0, 4.0, 6.0], "search": [5.0, 5.0, 9.0]}
    (line,) = lines_of("store", [few, many])
    assert (line.what, line.here) == ("comparison of 1,000 runs", "4.00 s")
    assert (line.ratio, line.target) == ("0.80", "≤ 5 s")


def test_a_cached_epoch_is_a_share_of_the_fronts() -> None:
    found = {"seconds": {"front": [4.0, 6.0], "context, cached": [0.5]}, "same": True}
    (line,) = lines_of("frozen", found)
    assert (line.ratio, line.target) == ("0.100", "≤ 0.1")


def test_figures_of_a_gpu_come_from_its_file() -> None:
    about = {"batch": "8", "torch": "2", "seconds": 0.5, "ratio": 0.95}
    on_gpu = Row("loop unet quick", "default", device="H100", **about)
    assert [
        line.ratio for line in gpu_lines([Row("loop unet quick", "default", device="cpu (1 threads)", **about)])
    ] == []
    (line,) = gpu_lines([on_gpu])
    assert (line.what, line.target) == ("loop unet quick, default, 8 on H100", "≥ 0.90")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Words of the benchmarks that were run: `start` gives figures, others fail."""
    seen: list[list[str]] = []

    def run(words: list[str], **_: Any) -> Any:
        seen.append(words[3:])
        if words[3] == "start":
            return subprocess.CompletedProcess(words, 0, f"warning\n{json.dumps(START)}\n", "")
        return subprocess.CompletedProcess(words, 2, "", "Traceback\nerror: no figures\n")

    monkeypatch.setattr(target_table.subprocess, "run", run)
    return seen


def test_the_next_call_measures_what_is_missing(
    calls: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["table", "--out", str(tmp_path / "new" / "table.jsonl")]
    assert benchmark.main([*words, "--only", "t"]) == 0
    assert {each[0] for each in calls} == {"start", "together", "loop", "store"}
    first = capsys.readouterr().out.splitlines()
    assert first[:2] == ["| what | here | against | ratio | target |", "| --- | --- | --- | --- | --- |"]
    assert "| together | not run: error: no figures |  |  |  |" in first
    assert "| peers | not run |  |  |  |" in first
    assert first[-1] == "| on a GPU: steps, iterations, whole images | not run |  |  |  |"
    calls.clear()
    assert benchmark.main([*words, "--only", "start"]) == 0
    assert calls == []
    assert benchmark.main([*words, "--minutes", "0"]) == 0
    assert calls == []
    assert benchmark.main([*words, "--only", "tog"]) == 0
    assert [each[0] for each in calls] == ["together"]


def test_what_cannot_be_done_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["table", "--only", "net9"]) == 2
    assert "--only net9: matches no benchmark; choose from start" in capsys.readouterr().err
    (tmp_path / "other.jsonl").write_text("[]\n")
    assert benchmark.main(["table", "--minutes", "0", "--out", str(tmp_path / "other.jsonl")]) == 2
    assert "other.jsonl: line 1 is not a measured benchmark; give another --out" in capsys.readouterr().err


def test_a_line_that_was_cut_off_is_measured_again(calls: list[list[str]], tmp_path: Path) -> None:
    out = tmp_path / "table.jsonl"
    words = ["table", "--out", str(out), "--only", "start"]
    assert benchmark.main(words) == 0
    whole = out.read_text()
    out.write_text(whole + whole[:60])
    assert benchmark.main(words) == 0
    assert len(calls) == 1
    out.write_text(whole[:60])
    assert benchmark.main(words) == 0
    assert len(calls) == 2
    assert out.read_text() == whole


def test_every_task_is_a_benchmark_that_prints_json() -> None:
    folder = Path(benchmark.__file__).parent / "benchmarks"
    for task in tasks():
        assert isinstance(task, Task)
        assert (folder / f"{task.words[0]}.py").is_file()
        assert "--json" in task.words
