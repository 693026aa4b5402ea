"""Files of a run: complete or absent, with only plain values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engines.records.checkpoint import load_checkpoint, save_checkpoint
from engines.records.output_folder import Output
from engines.records.tables import read_csv
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


def test_an_epoch_is_appended_and_the_file_is_as_if_written_whole(tmp_path: Path) -> None:
    output = Output(tmp_path)
    output.append_epoch("front", 1, {"train_loss": 0.5, "mean_iou": 0.1})
    inode = output.epochs_file.stat().st_ino
    output.append_epoch("front", 2, {"train_loss": 0.25})  # not validated
    output.append_epoch("front", 3, {"train_loss": 1e-05, "mean_iou": 0.3})
    assert output.epochs_file.read_bytes() == (
        b"stage,epoch,train_loss,mean_iou\r\nfront,1,0.5,0.1\r\nfront,2,0.25,\r\nfront,3,1e-05,0.3\r\n"
    )
    assert output.epochs_file.stat().st_ino == inode, "not written again"


@pytest.mark.parametrize("torn", ["f", "front", "front,", "front,3", "front,3,", "front,3,0.7,0.", "\0\0"])
def test_half_a_row_of_a_killed_training_is_dropped_or_replaced(tmp_path: Path, torn: str) -> None:
    whole = b"stage,epoch,train_loss,mean_iou\r\nfront,1,0.5,0.1\r\nfront,2,0.25,\r\n"
    output = Output(tmp_path)
    output.eval.mkdir()
    output.epochs_file.write_bytes(whole + torn.encode())
    output.append_epoch("front", 3, {"train_loss": 0.75, "mean_iou": 0.25})
    assert output.epochs_file.read_bytes() == whole + b"front,3,0.75,0.25\r\n"


def test_a_table_that_somebody_saved_between_two_epochs_is_read_again(tmp_path: Path) -> None:
    output = Output(tmp_path)
    output.append_epoch("front", 1, {"train_loss": 0.5})
    output.epochs_file.write_bytes(b"stage;epoch;train_loss;note\r\nfront;1;0,5;mine\r\n")
    output.append_epoch("front", 2, {"train_loss": 0.25})
    assert output.epochs_file.read_bytes() == b"stage,epoch,train_loss,note\r\nfront,1,0.5,mine\r\nfront,2,0.25,\r\n"
    output.epochs_file.unlink()
    output.append_epoch("front", 3, {"train_loss": 0.125})
    assert output.epochs_file.read_bytes() == b"stage,epoch,train_loss\r\nfront,3,0.125\r\n"


def test_an_evaluation_leaves_the_unfinished_files_of_a_training_alone(tmp_path: Path) -> None:
    parts = [tmp_path / "models" / ".part-7.pt", tmp_path / "eval" / ".part-8.csv", tmp_path / ".part-9.json"]
    own = tmp_path / "eval" / "tiny-test" / ".part-10.csv"
    for path in (*parts, own):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    Output(tmp_path, "tiny-test").clear_parts()
    assert all(path.exists() for path in parts)
    assert not own.exists()
    own.touch()
    Output(tmp_path).clear_parts()
    assert not any(path.exists() for path in parts)
    assert own.exists()
