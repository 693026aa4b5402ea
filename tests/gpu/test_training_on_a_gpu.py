"""Trainings, evaluation and inference of the bundles on a GPU; the results are also read on the CPU."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dataset_factory import make_dataset
from mlflow.tracking import MlflowClient
from PIL import Image
from repository import ROOT

from engines.records.tables import read_csv
from nets.safe_load import safe_load
from scripts.measuring.timing import tf32

Run = Callable[..., None]

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

GPU = "cuda"
SIZES: dict[str, Any] = {"width": 0.0625, "crop_size": 32, "crops_per_image": 4, "learning_rate": 0.01, "patience": 0}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "data", subjects=10)


def scores(path: Path) -> dict[str, float]:
    """Scores of the network in the last row."""
    row = read_csv(path / "scores.csv")[-1]
    return {name: float(row[name]) for name in ("pixel_accuracy", "mean_iou")}


def weights(folder: Path, name: str = "model.pt") -> dict[str, torch.Tensor]:
    """Weights of the last stage; those that are shared are stored as on a machine without a GPU."""
    if name == "model.pt":
        state = torch.load(folder / "models" / name, weights_only=True)
        assert {value.device.type for value in state.values()} == {"cpu"}
        return dict(state)
    return dict(safe_load(folder / "models" / name)["network"])


def params(store: Path) -> dict[str, str]:
    client = MlflowClient(f"sqlite:///{store}")
    runs = client.search_runs([client.get_experiment_by_name("mammoseg").experiment_id])
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    assert parent.info.status == "FINISHED"
    return dict(parent.data.params)


@pytest.mark.parametrize("bundle", ["fcn", "unet", "dilation10", "deeplabv3"])
def test_a_network_trained_with_the_defaults_scores_and_segments_alike_on_the_cpu(
    run_bundle: Run, data: Path, tmp_path: Path, store: Path, bundle: str
) -> None:
    run_bundle(run_id="training", bundle=bundle, dataset_dir=str(data), max_epochs=4, log_model=True, **SIZES)
    out = tmp_path / "out"
    found = params(store)
    assert (found["precision"], found["channels_last"]) == ("bf16", "True")
    weights(out)
    assert all(math.isfinite(float(row["train_loss"])) for row in read_csv(out / "eval" / "epochs.csv"))
    trained = scores(out / "eval")
    for options in ({"device": GPU}, {"device": "cpu"}, {"device": "cpu", "precision": "fp32"}):
        run_bundle("evaluate", bundle=bundle, dataset_dir=str(data), **options)
        assert scores(out / "eval" / "tiny-validation") == pytest.approx(trained, abs=1.0), options

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    image = np.load(data / "images" / "s009_L_CC.npy")
    for number in range(5):
        Image.fromarray((np.roll(image, number, 0).astype(np.uint32) * 16).astype(np.uint16)).save(
            pictures / f"{number}.png"
        )
    labels = {}
    for device in (GPU, "cpu"):
        results = tmp_path / device
        run_bundle("inference", bundle=bundle, dataset_dir=str(pictures), results_dir=str(results), device=device)
        files = sorted(results.rglob("*_labels.png"))
        assert len(files) == 5
        labels[device] = np.stack([np.asarray(Image.open(file)) for file in files])
    assert (labels[GPU] == labels["cpu"]).mean() > 0.97


@pytest.mark.parametrize(
    ("bundle", "options"),
    [
        ("fcn", {"precision": "fp16"}),
        ("fcn", {"micro_batch_size": "auto"}),
        ("unet", {"precision": "fp32", "channels_last": False, "num_workers": 0}),
        ("unet", {"loss": "dice_cross_entropy", "class_weights": "inverse"}),
        ("dilation10", {"checkpointing": True, "sampling": "class", "augmentation": "affine"}),
        ("deeplabv3", {"solver": "adamw", "lr_schedule": "cosine", "ema_decay": 0.5, "mirror_averaging": True}),
        ("unet", {"recipe": "tissue", "image_height": "$None", "log_model": True}),
        ("fcn", {"recipe": "tumor", "image_height": "$None", "max_epochs": 2}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_options(run_bundle: Run, data: Path, tmp_path: Path, bundle: str, options: dict[str, Any]) -> None:
    run_bundle(run_id="training", bundle=bundle, dataset_dir=str(data), **{**SIZES, "max_epochs": 4, **options})
    weights(tmp_path / "out")
    losses = [float(row["train_loss"]) for row in read_csv(tmp_path / "out" / "eval" / "epochs.csv")]
    assert all(map(math.isfinite, losses))
    assert min(losses[1:]) < losses[0]


def test_a_resumed_training_ends_as_close_as_a_repeated_one(run_bundle: Run, data: Path, tmp_path: Path) -> None:
    """Some sums on a GPU have no fixed order, and each step amplifies the difference."""
    options = {"bundle": "unet", "dataset_dir": str(data), **SIZES, "precision": "fp32"}
    with tf32(False):
        for name in ("whole", "repeated"):
            run_bundle(**options, max_epochs=4, output_dir=str(tmp_path / name))
        run_bundle(**options, max_epochs=2)
        run_bundle(**options, max_epochs=4, resume=True)
    whole, repeated, resumed = (weights(tmp_path / name, "progress.pt") for name in ("whole", "repeated", "out"))
    for name, value in whole.items():
        spread, difference = (float((other[name] - value).abs().max()) for other in (repeated, resumed))
        assert difference <= 0.005 + 3 * spread, (name, difference, spread)


def test_cached_frozen_layers_train_alike(run_bundle: Run, data: Path, tmp_path: Path) -> None:
    options = {
        "dataset_dir": str(data),
        **SIZES,
        "max_epochs": {"front": 1, "context": 4},
        "crop_draws": {"context": 2},
    }
    options |= {"stages": ["front", "context"]}
    run_bundle(**options, output_dir=str(tmp_path / "plain"))
    run_bundle(**options, cache_frozen=True)
    losses = [
        [float(row["train_loss"]) for row in read_csv(tmp_path / name / "eval" / "epochs.csv")]
        for name in ("plain", "out")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_compiled(run_bundle: Run, data: Path, tmp_path: Path) -> None:
    options = {"network_def#channels": [8, 16], "network_def#strides": [2], "network_def#num_res_units": 0}
    options |= {"bundle": "unet", "dataset_dir": str(data), "crop_size": 32, "patience": 0, "max_epochs": 2}
    run_bundle(**options, precision="fp32", output_dir=str(tmp_path / "plain"))
    run_bundle(**options, precision="fp32", compile=True)
    whole, compiled = (weights(tmp_path / name, "progress.pt") for name in ("plain", "out"))
    for name, value in whole.items():
        torch.testing.assert_close(compiled[name], value, rtol=0.02, atol=0.02)


def command(*words: str | Path) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    called = [sys.executable, "-m", *map(str, words)]
    result = subprocess.run(called, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    return result.stdout


SLIM = ["--width", "0.0625", "--image_height", "$None", "--crop_size", "32", "--batch_size", "4"]
SLIM += ["--micro_batch_size", "4", "--max_epochs", "2", "--log_model", "false"]


def test_torchrun_with_nccl(data: Path, tmp_path: Path, store: Path) -> None:
    configs = "['bundles/dilation10/configs/train.json','bundles/dilation10/configs/multi_gpu_train.json']"
    places = ["--dataset_dir", data, "--output_dir", tmp_path / "out", "--tracking_uri", store]
    torchrun = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(torch.cuda.device_count())]
    command(*torchrun, "-m", "monai.bundle", "run", "training", "--config_file", configs, *SLIM, *places)
    weights(tmp_path / "out")
    assert params(store)["device"].startswith("cuda")


def test_folds_trained_at_once_then_averaged(data: Path, tmp_path: Path, store: Path) -> None:
    places = ["--dataset_dir", data, "--tracking_uri", store]
    for bundle in ("unet", "deeplabv3"):
        folds = ["--folds", "2", "--jobs", "2", "--out", tmp_path / bundle]
        command("scripts.crossval", bundle, *folds, *places, *SLIM)
    command("scripts.ensemble", tmp_path / "unet", tmp_path / "deeplabv3", "--out", tmp_path / "both", *places[2:])
    assert json.loads(command("scripts.compare", *places[2:], "--crossval", "--json", "--out", tmp_path / "table"))
