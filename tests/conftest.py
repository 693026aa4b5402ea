"""Fixtures for all tests: a tiny dataset folder, and bundles run in this process."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

if not os.environ.get("MAMMOSEG_TEST_GPU"):  # see `make test-gpu`; before torch is imported
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import pytest
import torch
from dataset_factory import make_dataset
from hypothesis import settings
from monai.data import set_track_meta
from repository import ROOT

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# The same number of threads in every run, regardless of load: it affects the rounding of sums.
torch.set_num_threads(int(os.environ.setdefault("OMP_NUM_THREADS", "1")))

# The same examples in every run; `pytest --hypothesis-profile default` looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Use a separate cache of known files for the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMMOSEG_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """A suite started in the background ignores Ctrl-C, and so would every process that a test starts to interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbid look-ups and connections, also to this machine."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"the network was used: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def tiny_dataset(tmp_path: Path) -> Path:
    """A new dataset folder of six subjects."""
    return make_dataset(tmp_path / "tiny dataset äöü #1")


@pytest.fixture
def process_state() -> Iterator[None]:
    """Restore process state that a bundle's `begin` changes."""
    set_track_meta(True)
    hook, handler = sys.excepthook, signal.getsignal(signal.SIGTERM)
    yield
    set_track_meta(True)
    sys.excepthook = hook
    signal.signal(signal.SIGTERM, handler)
    for name in ("", "mammoseg"):  # handlers of logging.conf hold pytest's closed stdout otherwise
        logging.getLogger(name).handlers = [
            h for h in logging.getLogger(name).handlers if type(h) is not logging.StreamHandler
        ]
    logging.getLogger("mammoseg").propagate = True


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs, created only once, since this takes seconds."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> Path:
    """A separate MLflow database for the test."""
    return Path(shutil.copy(empty_store, tmp_path / "mlflow.db"))


PLAIN: dict[str, Any] = {
    "augmentation": "mammography",
    "class_weights": "paper",
    "ema_decay": 0.0,
    "fine_tuning": "$None",
    "loss": "cross_entropy",
    "lr_schedule": "piecewise",
    "mirror_averaging": False,
    "monitor": "mean_iou",
    "sampling": "image",
    "solver": "sgd",
    "val_interval": 1,
    "weight_decay": 0.0005,
}
"""Options of the recipe `paper`, validated every epoch: what tests of the training's course are about."""

SLIM: dict[str, Any] = {
    "width": 0.02,
    "image_height": "$None",
    **PLAIN,
    "batch_size": 4,
    "micro_batch_size": 4,
    "crop_size": 24,
    "log_model": False,  # takes seconds, and has separate tests
}


@pytest.fixture
def run_bundle(process_state: None, tmp_path: Path, store: Path) -> Callable[..., None]:
    """Run a config of a bundle in this process, slim, with its output and MLflow store in a temporary folder."""
    from monai.bundle import run

    def go(config: str = "train", run_id: str = "run", bundle: str = "dilation10", **overrides: Any) -> None:
        slim = SLIM if config == "train" else {}
        if "recipe" in overrides:  # which says itself what PLAIN does
            slim = {key: value for key, value in slim.items() if key not in PLAIN}
        run(
            run_id=run_id,
            config_file=str(ROOT / "bundles" / bundle / "configs" / f"{config}.json"),
            **{
                **slim,
                "output_dir": str(tmp_path / "out"),
                **({"tracking_uri": str(store)} if config != "inference" else {}),
                **overrides,
            },
        )

    return go
