"""Imitated trained model, and a Python without access to the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from repository import ROOT

SETTINGS: dict[str, Any] = {
    "recipe": "quick",
    "width": 0.02,
    "image_height": None,
    "seed": 0,
    "mirror_averaging": False,
    "init_weights": "/somewhere/private/vgg16.pth",
    "ignore_label": None,
    "windowing": "voi",
    "flip": "none",
    "colour": False,
    "source_values": None,
    "intensity_ranges": [[0, 4095]],
    "licence": "CC BY-NC-ND 4.0",
    "reference": "A. Author, A data set, 2020",
    "labels": {"0": "background", "1": "gland", "2": "tumor"},
    "dataset": "tiny",
    "dataset_digest": "0" * 64,
    "split_digest": "1" * 64,
    "epoch": 3,
    "validation": {
        "pixel_accuracy": 0.91234,
        "mean_iou": 0.51239,
        "mean_class_accuracy": 0.61234,
        "mean_dice": 0.71234,
        "iou/background": 0.81234,
        "iou/gland": 0.21234,
        "iou/tumor": None,
        "dice/background": 0.9,
        "dice/gland": 0.3,
        "dice/tumor": None,
    },
}


def make_trained(output: Path, bundle: str = "unet", stage: str = "unet", **changes: Any) -> Path:
    """Write models/model.json and models/model.pt with a bundle's network as it is before any training."""
    models = output / "models"
    models.mkdir(parents=True)
    (models / "model.json").write_text(json.dumps({**SETTINGS, "stage": stage, **changes}))
    parser = ConfigParser()
    parser.read_config(str(ROOT / "bundles" / bundle / "configs" / "inference.json"))
    parser["output_dir"] = str(output)
    torch.manual_seed(0)
    torch.save(parser.get_parsed_content("network_def").state_dict(), models / "model.pt")
    return output


HERE_ONLY = """
import pathlib, runpy, sys
import engines, nets, scripts.sample, transforms.dataset
folder = pathlib.Path.cwd().resolve()
for module in (engines, nets, scripts.sample, transforms.dataset):
    assert folder in pathlib.Path(module.__file__).resolve().parents, module.__file__
assert not [path for path in sys.path if (pathlib.Path(path) / "bundles").is_dir()], sys.path
sys.argv = ["monai.bundle", *sys.argv[1:]]
runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
"""
"""`python -m monai.bundle`, after making sure that all code comes from the folder it is started in."""


def clean_python(folder: Path, home: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder with only the installed packages.

    -S leaves out site.py, which reads the .pth files of editable installs; the packages are named in PYTHONPATH. The
    environment holds nothing else, and `home` is an empty folder.
    """
    home.mkdir(exist_ok=True)
    keep = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
    packages = os.pathsep.join(dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib")))
    environment = {
        **keep,
        "PYTHONPATH": packages,
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "HOME": str(home),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, "-S", "-W", "ignore", *map(str, words)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)


def bundle_command(folder: Path, home: Path, *words: str | Path) -> str:
    """`python -m monai.bundle WORDS` in a folder with nothing of the repository; returns what it printed."""
    done = clean_python(folder, home, "-c", HERE_ONLY, *words)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr
