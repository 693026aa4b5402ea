"""`python -m scripts.benchmark since`: its options, its comparison and its errors, without a training."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from scripts import benchmark
from scripts.benchmarks import since


def test_options_are_those_of_both_codes() -> None:
    recipe = {
        "_desc_": "minutes",
        "norm": "batch",
        "max_epochs": 26,
        "patience": 8,
        "fine_tuning": {"epochs": 2},
        "precision": "auto",
        "init_weights": None,
    }
    before = {"_desc_": "Trains.", "max_epochs": 1, "init_weights": None, "precision": "bf16"}
    assert since.common_options(recipe, before) == {"max_epochs": 26, "init_weights": "$None"}


def write_results(folder: Path, weight: float, counts: list[list[int]], row: str = "unet") -> Path:
    for name in ("models", "eval"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    torch.save({"conv.weight": torch.tensor([weight])}, folder / "models" / "model.pt")
    (folder / "eval" / "confusion-unet.json").write_text(json.dumps({"row": row, "subjects": {"s1": counts}}))
    return folder


def test_results_are_equal_to_the_last_bit(tmp_path: Path) -> None:
    one = write_results(tmp_path / "one", 0.1, [[1, 2], [3, 4]])
    assert since.same_results(one, write_results(tmp_path / "same", 0.1, [[1, 2], [3, 4]], row="U-Net"))
    assert not since.same_results(one, write_results(tmp_path / "weights", 0.1 + 1e-8, [[1, 2], [3, 4]]))
    assert not since.same_results(one, write_results(tmp_path / "counts", 0.1, [[1, 2], [3, 5]]))


def test_time_and_memory_of_a_process(tmp_path: Path) -> None:
    code = "held = bytearray(300_000_000); total = sum(range(3_000_000))"
    seconds, processor, peak = since._run([sys.executable, "-c", code], tmp_path)
    assert 0 < processor < 2 * seconds + 1
    resource = pytest.importorskip("resource")
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    assert 0.3 < peak < max(0.9, 1.1 * own)
    with pytest.raises(since.UserError, match=r"the command failed: .*no such thing"):
        since._run([sys.executable, "-c", "raise SystemExit('no such thing')"], tmp_path)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_what_is_no_commit_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["since", "no-such-commit"]) == 2
    assert "no-such-commit: git cannot check it out" in capsys.readouterr().err
    assert benchmark.main(["since", "HEAD", "--trainings", "unet"]) == 2
    assert "expected bundle:recipe" in capsys.readouterr().err
