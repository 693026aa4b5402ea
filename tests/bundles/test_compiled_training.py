"""A training with `--compile true` from start to end, by the C++ compiler of this machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

NETWORK = {"network_def#channels": [8, 16], "network_def#strides": [2], "network_def#num_res_units": 0}
"""Few kinds of layers: each kernel takes seconds of compiling."""


def state(out: Path) -> dict[str, Any]:
    return dict(torch.load(out / "models" / "progress.pt", weights_only=True))["network"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@pytest.mark.filterwarnings("ignore")  # of torch's compiler
def test_a_compiled_training_ends_resumes_and_keeps_the_names_of_the_network(
    run_bundle: Callable[..., None], tiny_dataset: Path, tmp_path: Path
) -> None:
    options = {**NETWORK, "bundle": "unet", "dataset_dir": str(tiny_dataset), "patience": 0, "compile": True}
    options |= {"batch_size": 5, "micro_batch_size": 5}  # the last batch is smaller
    run_bundle(**options, max_epochs=3, output_dir=str(tmp_path / "whole"))
    run_bundle(**options, max_epochs=2)
    run_bundle(**options, max_epochs=3, resume=True)
    run_bundle(**{**options, "compile": False}, max_epochs=3, output_dir=str(tmp_path / "plain"))
    whole, resumed, plain = (state(tmp_path / name) for name in ("whole", "out", "plain"))
    assert whole.keys() == plain.keys()
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    for name, value in plain.items():
        torch.testing.assert_close(whole[name], value, rtol=1e-2, atol=1e-3)
    run_bundle(config="evaluate", bundle="unet", dataset_dir=str(tiny_dataset), **NETWORK)
