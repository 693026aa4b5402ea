"""Training in fp16 with a scaled loss."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_factory import staged_training

from engines import PaddedInferer
from engines.training.loss_scaling import LossScaling


def train(data: Path, out: Path, epochs: int, resume: bool = False) -> dict[str, torch.Tensor]:
    training = staged_training(data, out, epochs, inferer=PaddedInferer("fp16"))
    training.prepare(resume)
    training.run()
    return torch.load(out / "models" / "slopes.pt", weights_only=True)


@pytest.mark.usefixtures("process_state")
def test_a_resumed_training_in_fp16_ends_like_an_uninterrupted_one(tiny_dataset: Path, tmp_path: Path) -> None:
    whole = train(tiny_dataset, tmp_path / "whole", 2)
    train(tiny_dataset, tmp_path / "parts", 1)
    parts = train(tiny_dataset, tmp_path / "parts", 2, resume=True)
    saved = torch.load(tmp_path / "whole" / "models" / "progress.pt", weights_only=True)
    assert saved["scaler"]["scale"] > 1
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert all(value.dtype == torch.float32 and bool(value.isfinite().all()) for value in whole.values())
    assert set(parts) == set(whole)


def test_other_precisions_are_not_scaled(tiny_dataset: Path, tmp_path: Path) -> None:
    training = staged_training(tiny_dataset, tmp_path / "out", 1)
    assert not training.trainer.amp
    assert LossScaling(training.trainer).state() == {}


def test_infinite_gradients_leave_a_step_out(tiny_dataset: Path, tmp_path: Path) -> None:
    training = staged_training(tiny_dataset, tmp_path / "out", 1, inferer=PaddedInferer("fp16"))
    trainer, scaler = training.trainer, training.scaling.scaler
    assert scaler is not None
    (weight,) = (p for name, p in training.network.named_parameters() if name == "scores.bias")
    before = weight.detach().clone()
    scale = scaler.get_scale()
    scaler.scale((weight * 1e38 * 1e38).sum()).backward()
    scaler.step(trainer.optimizer)
    scaler.update()
    assert torch.equal(weight, before)
    assert scaler.get_scale() == scale / 2
