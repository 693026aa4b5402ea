"""Fixtures for all tests: a tiny dataset folder, and bundles run in this process."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.data import set_track_meta

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

LABELS = ("background", "gland", "tumor")


def make_dataset(
    folder: Path, subjects: int = 6, size: tuple[int, int] = (40, 32), seed: int = 0, name: str = "tiny"
) -> Path:
    """Write a dataset folder of one image a subject: a bright disc (tumor) on a gray half (gland); two validate."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    sections: dict[str, list[dict[str, Any]]] = {"training": [], "validation": [], "test": []}
    pixels = np.zeros(len(LABELS))
    rows, columns = np.mgrid[: size[0], : size[1]]
    for number in range(subjects):
        label = np.zeros(size, np.uint8)
        label[:, size[1] // 2 :] = 1
        center = rng.integers(8, 24, 2)
        label[(rows - center[0]) ** 2 + (columns - center[1]) ** 2 < 30] = 2
        image = (np.array([200, 1500, 3500])[label] + rng.normal(0, 60, size)).clip(0, 4095).astype(np.uint16)
        case = f"s{number:03d}_L_CC"
        np.save(folder / "images" / f"{case}.npy", image)
        np.save(folder / "labels" / f"{case}.npy", label)
        section = "validation" if number >= subjects - 2 else "training"
        if section == "training":
            pixels += np.bincount(label.ravel(), minlength=len(LABELS))
        sections[section].append(
            {
                "image": f"images/{case}.npy",
                "label": f"labels/{case}.npy",
                "subject": f"s{number:03d}",
                "laterality": "L",
                "view": "CC",
                "spacing_mm": [0.1, 0.1],
                "intensity_range": [0, 4095],
                "source_sha256": f"{seed:032d}{number:032d}",
            }
        )
    content = {
        "format_version": 1,
        "name": name,
        "licence": "none needed",
        "reference": "made by the tests",
        "labels": {str(i): label_name for i, label_name in enumerate(LABELS)},
        "ignore_label": None,
        "pixel_fraction": dict(zip(LABELS, (pixels / pixels.sum()).tolist(), strict=True)),
        "split": {"by": "subject", "seed": 0, "validation_fraction": 0.3},
        **sections,
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def tiny_dataset(tmp_path: Path) -> Path:
    """A dataset folder of six subjects, made anew for the test."""
    return make_dataset(tmp_path / "tiny dataset äöü #1")


@pytest.fixture
def process_state() -> Iterator[None]:
    """Put back what a bundle's `begin` changes in the process."""
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
    """An MLflow database without runs, made once: it takes seconds."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> Path:
    """An MLflow database of the test's own."""
    return Path(shutil.copy(empty_store, tmp_path / "mlflow.db"))


SLIM: dict[str, Any] = {
    "width": 0.02,
    "image_height": None,
    "batch_size": 4,
    "micro_batch_size": 4,
    "crop_size": 24,
    "log_model": False,  # seconds, and tested by itself
}


@pytest.fixture
def run_bundle(process_state: None, tmp_path: Path, store: Path) -> Callable[..., None]:
    """Run a config of a bundle in this process, slim, with its output and MLflow store in a temporary folder."""
    from monai.bundle import run

    def go(config: str = "train", run_id: str = "run", bundle: str = "dilation10", **overrides: Any) -> None:
        slim = SLIM if config == "train" else {}
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
