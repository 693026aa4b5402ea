"""Extrapolation of all trainings from some minutes of a shared device."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest

from engines.training.plan import Stage
from scripts.measuring import evidence_run
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


def test_only_what_is_done_while_all_are_warm_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_run, "COMMAND", [sys.executable, "-c", SAYS])
    counted, seconds = shared(2, 6.0, {"now": time.time()})  # until four seconds from now
    assert [e.seconds for e in counted] == [0.1, 1.0, 0.1]
    assert seconds == 6.0


def test_ctrl_c_ends_the_count_early(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(evidence_run, "COMMAND", [sys.executable, "-c", SAYS])
    watch, said = evidence_run._watch, []

    def interrupted(workers: Sequence[evidence_run.Worker]) -> None:
        watch(workers)
        said.append(capsys.readouterr().err)
        if "warm after" in "".join(said) and all(len(worker.warm) == 3 for worker in workers):
            raise KeyboardInterrupt

    monkeypatch.setattr(evidence_run, "_watch", interrupted)
    counted, seconds = shared(2, 600.0, {"now": time.time() - 0.1})
    assert [e.seconds for e in counted] == [0.1, 1.0, 0.1]
    assert 2.0 < seconds < 600.0


@pytest.mark.parametrize("recipe", ["paper", "cityscapes"])
def test_images_of_any_size_cannot_be_drawn(recipe: str) -> None:
    with pytest.raises(UserError, match=f"--recipe {recipe}: has no image_height for the synthetic images"):
        evidence_run.run_evidence(recipe=recipe, device="cpu")


def test_a_process_that_ends_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_run, "COMMAND", [sys.executable, "-c", "raise SystemExit('out of memory')"])
    with pytest.raises(UserError, match=r"ended with code 1 \(out of memory\); try a smaller --at-once"):
        shared(2, 1.0, {})


@pytest.mark.slow
def test_every_stage_is_trained_once_before_any_counts(tmp_path: Path) -> None:
    task = {"number": 0, "device": "cpu", "folder": str(tmp_path), "recipe": "tissue", "tiny": True, "num_workers": 0}
    stages = list(stages_of_all("tissue"))
    assert len(stages) == 8
    done = list(islice(epochs(task), 9))
    assert [(e.network, e.stage) for e in done[:8]] == stages
    assert [e.warm for e in done] == [False] * 8 + [True]
    assert all(e.seconds > 0 and e.image_seconds > 0 for e in done)
