"""Extrapolation of all trainings from some minutes of a shared device."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest

from engines.training.plan import Stage
from scripts import benchmark
from scripts.measuring import evidence_run, rows
from scripts.measuring.epoch_file import EpochFile, counted_minutes
from scripts.measuring.evidence_run import shared, training_seconds
from scripts.measuring.shared_device import Epoch, epochs, stages_of_all
from transforms.errors import UserError

SAYS = """
import json, sys, time
task = json.loads(sys.argv[1])
def say(warm, began, seconds):
    told = {"network": "unet", "stage": "unet", "warm": warm, "began": began, "seconds": seconds, "image_seconds": 0.0}
    print("EPOCH " + json.dumps(told), flush=True)
now = task["now"]  # the same for all, whenever they have started
say(False, now - 9, 1)
say(True, now - 3 + task["number"], 1)  # of the first process before the second is warm
say(True, now, 0.1)
say(True, now, 9)  # not over when the time is
print("a warning")
time.sleep(60)
"""


def test_seconds_of_a_training_by_hand() -> None:
    """70 epochs of 2 and 4 s, on average 3; validated 7 times and at the end on 12 images of 0.5 s."""
    stage = Stage("unet", 70, 320, 0.002)
    counted = [
        Epoch("unet", "unet", True, 0.0, 2.0, 0.25),
        Epoch("unet", "unet", True, 2.0, 4.0, 0.75),
        Epoch("fcn", "fcn8", True, 2.0, 99.0, 99.0),
    ]
    assert training_seconds(stage, ("unet", "unet"), counted, "tissue") == 70 * 3 + 12 * 8 * 0.5


def test_only_what_is_done_while_all_are_warm_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(evidence_run, "COMMAND", [sys.executable, "-c", SAYS])
    file = EpochFile(tmp_path / "epochs.jsonl", {"device": "one"})
    now = time.time()
    shared(2, 6.0, {"now": now}, file.append)  # until four seconds from now
    counted = file.read()
    assert sorted(one.epoch.seconds for one in counted) == [0.1, 0.1, 1.0]
    assert {one.begin for one in counted} == {now - 2}
    assert counted_minutes(counted) == pytest.approx(2.1 / 60)


def test_ctrl_c_ends_the_count_early(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(evidence_run, "COMMAND", [sys.executable, "-c", SAYS])
    watch, said = evidence_run._watch, []

    def interrupted(workers: Sequence[evidence_run.Worker]) -> None:
        watch(workers)
        said.append(capsys.readouterr().err)
        if "warm after" in "".join(said) and all(len(worker.warm) == 3 for worker in workers):
            raise KeyboardInterrupt

    monkeypatch.setattr(evidence_run, "_watch", interrupted)
    counted: list[Epoch] = []
    shared(2, 600.0, {"now": time.time() - 0.1}, lambda begin, epoch: counted.append(epoch))
    assert sorted(epoch.seconds for epoch in counted) == [0.1, 0.1, 1.0]


@pytest.mark.parametrize("recipe", ["paper", "cityscapes"])
def test_images_of_any_size_cannot_be_drawn(recipe: str) -> None:
    with pytest.raises(UserError, match=f"--recipe {recipe}: has no image_height for the synthetic images"):
        evidence_run.run_evidence(recipe=recipe, device="cpu")


def test_a_process_that_ends_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_run, "COMMAND", [sys.executable, "-c", "raise SystemExit('out of memory')"])
    with pytest.raises(UserError, match=r"ended with code 1 \(out of memory\); try a smaller --at-once"):
        shared(2, 1.0, {}, lambda begin, epoch: None)


def test_calls_add_up_in_the_same_conditions(tmp_path: Path) -> None:
    path = tmp_path / "epochs.jsonl"
    one, other = EpochFile(path, {"device": "a", "at_once": 8}), EpochFile(path, {"device": "a", "at_once": 4})
    assert one.read() == []
    for begin, began, seconds in ((100.0, 110.0, 20.0), (100.0, 100.0, 5.0), (1000.0, 1030.0, 59.0)):
        one.append(begin, Epoch("fcn", "fcn8", True, began, seconds, 1.0))
    other.append(5.0, Epoch("fcn", "fcn8", True, 5.0, 1.0, 1.0))
    with path.open("a") as file:
        file.write('{"device": "a", "beg')  # killed while it wrote
    assert [one.epoch.seconds for one in one.read()] == [20.0, 5.0, 59.0]
    assert counted_minutes(one.read()) == pytest.approx((31.0 + 90.0) / 60)
    other.append(5.0, Epoch("unet", "unet", True, 7.0, 1.0, 1.0))
    assert len(other.read()) == 2
    path.write_text('{"group": "step"}\n')
    with pytest.raises(UserError, match="line 1 is not a measured epoch; give another --out"):
        one.read()


def test_the_command_adds_to_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without an epoch of each stage nothing can be said; then all calls count."""
    monkeypatch.setattr(evidence_run, "COMMAND", [sys.executable, "-c", SAYS.replace('task["now"]', "time.time()")])
    out = tmp_path / "epochs.jsonl"
    words = ["evidence", "--minutes", "0.04", "--at-once", "1", "--device", "cpu", "--json", "--out", str(out)]
    assert benchmark.main(words) == 2
    assert re.search(r"no epoch of fcn fcn32, .*, deeplabv3 deeplabv3 in .* repeat the", capsys.readouterr().err)
    entry = json.loads(out.read_text().splitlines()[0])
    for network, stage in stages_of_all("tissue"):
        epoch = {**entry["epoch"], "network": network, "stage": stage, "began": 10.0, "seconds": 2.0}
        rows.append_line(out, {**entry, "begin": 4.0, "epoch": epoch})
    assert benchmark.main([*words, "--folds", "1", "--seeds", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["of_stages"]["dilation10 context"] == 6 * 2.0
    assert found["of_stages"]["unet unet"] < 70 * 2.0
    assert found["seconds"] == pytest.approx(sum(found["of_stages"].values()))
    assert found["counted"] > 8.0


@pytest.mark.slow
def test_every_stage_is_trained_once_before_any_counts(tmp_path: Path) -> None:
    task = {"number": 0, "device": "cpu", "folder": str(tmp_path), "recipe": "tissue", "tiny": True, "num_workers": 0}
    stages = list(stages_of_all("tissue"))
    assert len(stages) == 8
    done = list(islice(epochs(task), 9))
    assert [(e.network, e.stage) for e in done[:8]] == stages
    assert [e.warm for e in done] == [False] * 8 + [True]
    assert all(e.seconds > 0 and e.image_seconds > 0 for e in done)
