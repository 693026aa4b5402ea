"""State to resume a training from: the last one, the previous one, or a one-line error."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from engines.records.checkpoint import load_checkpoint, save_checkpoint
from engines.records.output_folder import Output
from engines.records.resume_state import Progress
from engines.training.interrupted import check_same, fitting
from transforms.errors import UserError


def state(epoch: int, **changes: Any) -> dict[str, Any]:
    return {
        "settings": {"seed": 0},
        "stage": "front",
        "epoch": epoch,
        "network": {"w": torch.full((3000,), float(epoch))},
        "optimizer": {"state": {}, "param_groups": []},
        "best": {"epoch": 0},
        "results": {},
        "stopping": (0, None),
        "run_id": None,
        "stage_runs": {},
        **changes,
    }


@pytest.fixture
def progress(tmp_path: Path) -> Progress:
    """Two epochs saved."""
    progress = Progress(tmp_path)
    progress.save(state(1))
    progress.save(state(2))
    return progress


def test_the_last_state_is_read_and_one_before_is_kept(progress: Progress) -> None:
    assert progress.load()["epoch"] == 2
    assert load_checkpoint(progress.previous)["epoch"] == 1
    progress.save(state(3), rotate=False)
    assert load_checkpoint(progress.previous)["epoch"] == 1


def damaged(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(byte ^ 0x55 for byte in content[middle : middle + 300]) + content[middle + 300 :]


@pytest.mark.parametrize(
    "spoil",
    [damaged, lambda c: c[: len(c) // 2], lambda c: b"", lambda c: b"\0" * len(c), lambda c: b"PK\3\4" + c[:50]],
    ids=["bytes changed", "cut short", "empty", "zeros", "header"],
)
def test_a_damaged_state_gives_way_to_the_one_before(
    progress: Progress, caplog: pytest.LogCaptureFixture, spoil: Any
) -> None:
    progress.file.write_bytes(spoil(progress.file.read_bytes()))
    with caplog.at_level(logging.WARNING, "mammoseg"):
        assert progress.load()["epoch"] == 1
    (line,) = [record.getMessage() for record in caplog.records]
    assert "progress.pt" in line
    assert "resuming one epoch earlier" in line


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        7,
        {"epoch": 3},
        state(3, stage=5),
        state(-1),
        state(3, stopping=(1,)),
        state(3, network={"w": torch.tensor([float("nan")])}),
    ],
    ids=["list", "number", "part", "stage", "epoch", "stopping", "NaN"],
)
def test_other_content_gives_way_to_the_state_before(progress: Progress, content: Any) -> None:
    save_checkpoint(content, progress.file)
    assert progress.load()["epoch"] == 1
    save_checkpoint(content, progress.previous)
    with pytest.raises(UserError, match=r"progress\.pt.*cannot be used either; train again without --resume") as raised:
        progress.load()
    assert "\n" not in str(raised.value)


def test_a_kill_between_the_two_renames_loses_one_epoch_at_most(progress: Progress) -> None:
    progress.file.unlink()
    assert progress.exists()
    assert progress.load()["epoch"] == 1


def test_a_new_training_keeps_the_one_before_until_a_stage_of_it_ends(tmp_path: Path) -> None:
    output = Output(tmp_path)
    output.start_anew()  # nothing there yet
    output.progress.save(state(6))
    output.progress.save(state(7))
    output.append_epoch("front", 7, {"mean_iou": 0.1})
    output.start_anew()
    assert load_checkpoint(output.progress.before)["epoch"] == 7
    assert not output.progress.exists()
    with pytest.raises(UserError, match=r"no training to resume here.*rename progress-before\.pt"):
        output.progress.load()
    output.progress.save(state(0))  # killed in its first epoch, and started again
    output.start_anew()
    assert load_checkpoint(output.progress.before)["epoch"] == 7
    output.save_stage("front", {"w": torch.ones(1)}, {}, {}, 1)
    assert not output.progress.before.exists()


def test_other_settings_and_stages_are_named() -> None:
    saved = state(1)
    assert check_same(Path("p.pt"), saved, {"seed": 0, "max_epochs": 9}, ["front"]) == 0
    with pytest.raises(UserError, match=r"p\.pt: .*seed: 0 → 1"):
        check_same(Path("p.pt"), saved, {"seed": 1}, ["front"])
    with pytest.raises(UserError, match="its stage 'front' is not one of context"):
        check_same(Path("p.pt"), saved, {"seed": 0}, ["context"])


def test_a_state_of_another_network_is_one_line() -> None:
    with pytest.raises(UserError, match="does not fit this network") as raised, fitting(Path("p.pt")):
        torch.nn.Linear(2, 3).load_state_dict(torch.nn.Linear(4, 3).state_dict())
    assert "\n" not in str(raised.value)
