"""Files a run leaves: whole or absent, plain values only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engines.records.checkpoint import load_checkpoint, save_checkpoint
from engines.records.output_folder import Output, load_settings, read_csv, weights_file
from transforms.errors import UserError


def test_round_trip(tmp_path: Path) -> None:
    content = {"a": torch.arange(3), "n": 1.5, "s": ["x", None], "nan": float("nan")}
    save_checkpoint(content, tmp_path / "new" / "c.pt")
    back = load_checkpoint(tmp_path / "new" / "c.pt")
    assert torch.equal(back["a"], content["a"])
    assert back["s"] == ["x", None]


def test_a_failed_save_keeps_the_old_file_and_leaves_no_part(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint({"a": 1}, path)
    with pytest.raises(Exception, match=r"pickle|lambda"):
        save_checkpoint({"a": lambda: 1}, path)
    assert load_checkpoint(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_missing_and_broken_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "c.pt")
    save_checkpoint({"a": torch.zeros(1000)}, tmp_path / "c.pt")
    whole = (tmp_path / "c.pt").read_bytes()
    for content in (b"", whole[:100], whole[: len(whole) // 2], b"not a checkpoint"):
        (tmp_path / "c.pt").write_bytes(content)
        with pytest.raises(UserError, match="not a readable checkpoint"):
            load_checkpoint(tmp_path / "c.pt")


def test_more_than_plain_values_is_refused(tmp_path: Path) -> None:
    torch.save({"score": np.float64(0.5)}, tmp_path / "c.pt")
    with pytest.raises(UserError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path / "c.pt")


def test_epochs_are_appended_and_replaced(tmp_path: Path) -> None:
    output = Output(tmp_path)
    output.append_epoch("front", 1, {"mean_iou": 0.1})
    output.append_epoch("front", 2, {"mean_iou": 0.2})
    output.append_epoch("front", 2, {"mean_iou": 0.3, "new": 1.0})
    rows = read_csv(output.epochs_file)
    assert [(r["epoch"], r["mean_iou"]) for r in rows] == [("1", "0.1"), ("2", "0.3")]


def test_settings_round_trip_and_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no trained model here"):
        load_settings(tmp_path)
    Output(tmp_path).save_stage("front", {"w": torch.ones(1)}, {"width": 0.5}, {"mean_iou": float("nan")}, 3)
    assert load_settings(tmp_path) == {"width": 0.5, "stage": "front", "epoch": 3, "validation": {"mean_iou": None}}
    assert torch.load(tmp_path / "models" / "model.pt", weights_only=True)["w"] == 1
    assert load_settings(tmp_path, "front")["stage"] == "front"
    assert weights_file(tmp_path, "front") == str(tmp_path / "models" / "front.pt")
    with pytest.raises(UserError, match="there are front, model"):
        weights_file(tmp_path, "global")
    with pytest.raises(UserError, match=r"--weights global: not in .* there are front, model"):
        load_settings(tmp_path, "global")
    whole = (tmp_path / "models" / "front.pt").read_bytes()
    (tmp_path / "models" / "front.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"front\.pt: damaged or cut short"):
        weights_file(tmp_path, "front")
    (tmp_path / "models" / "model.json").write_text("{")
    with pytest.raises(UserError, match="broken JSON"):
        load_settings(tmp_path)


def test_a_new_training_keeps_the_one_before_until_a_stage_of_it_ends(tmp_path: Path) -> None:
    output = Output(tmp_path)
    output.start_anew()  # nothing there yet
    output.save_progress({"epoch": 7})
    output.start_anew()
    assert load_checkpoint(output.progress_before) == {"epoch": 7}
    with pytest.raises(UserError, match="no training to resume"):
        output.load_progress()
    output.save_stage("front", {"w": torch.ones(1)}, {}, {}, 1)
    assert not output.progress_before.exists()


def test_pictures_of_an_earlier_run_go(tmp_path: Path) -> None:
    output = Output(tmp_path)
    output.clear_panels()  # none yet
    output.panels.mkdir(parents=True)
    (output.panels / "s001.png").touch()
    (output.panels / "mine.txt").touch()
    output.clear_panels()
    assert [p.name for p in output.panels.iterdir()] == ["mine.txt"]
