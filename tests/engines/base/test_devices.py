"""`--device`: refused in one line if the device is unavailable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from engines.base.devices import check_device
from transforms.errors import UserError, user_error


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_a_device_that_is_there(device: torch.device | str) -> None:
    check_device(device)


@pytest.mark.parametrize(
    ("device", "gpus", "message"),
    [
        ("gpu", 0, r"--device gpu: not a PyTorch device such as cpu, cuda or cuda:1; give cpu, or omit the option"),
        ([], 0, r"--device \[\]: not a PyTorch device"),
        ("cuda", 0, r"--device cuda: PyTorch.* finds no GPU here; give cpu"),
        ("cuda:1", 1, r"--device cuda:1: PyTorch.* finds 1 GPU here"),
        ("cuda:7", 4, r"--device cuda:7: PyTorch.* finds 4 GPUs here"),
        ("xla", 0, r"--device xla: cannot be used \("),
    ],
)
def test_one_that_is_not(monkeypatch: pytest.MonkeyPatch, device: Any, gpus: int, message: str) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(UserError, match=message):
        check_device(device)


@pytest.mark.parametrize("config", ["train", "evaluate", "inference"])
def test_every_config_checks_it(config: str, run_bundle: Callable[..., None]) -> None:
    with pytest.raises(RuntimeError) as raised:
        run_bundle(config, run_id="run", device="gpu")
    assert "--device gpu: not a PyTorch device" in str(user_error(raised.value))
