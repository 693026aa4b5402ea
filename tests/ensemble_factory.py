"""Imitated trainings: a folder with weights of a slim network and the records of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from engines.records.data_record import DataGuard
from engines.records.output_folder import Output
from engines.scoring.confusion_files import identity
from engines.training.plan import at_stage
from nets import FCN, Dilation10
from transforms.dataset import Dataset

WIDTH = 0.02


def network_of(bundle: str, seed: int, classes: int = 3) -> nn.Module:
    """A network of random weights, whose scores differ from pixel to pixel."""
    torch.manual_seed(seed)
    made: nn.Module = FCN(classes, width=WIDTH) if bundle == "fcn" else Dilation10(classes, width=WIDTH)
    stage = "fcn8" if bundle == "fcn" else "front"
    made = at_stage(made, [stage])
    with torch.no_grad():
        for name, value in made.named_parameters():
            if value.dim() > 1 and "conv" in name:
                value.mul_(1.5)
            elif value.dim() > 1:
                value.normal_(std=0.5)
    return made.eval()


def make_training(folder: Path, data: Dataset, bundle: str = "fcn", seed: int = 0, **settings: Any) -> Path:
    """Write the output folder of a training on a data set."""
    output = Output(folder)
    network = network_of(bundle, seed, data.num_classes)
    about = {
        "width": WIDTH,
        "image_height": None,
        "mirror_averaging": False,
        "windowing": data.windowing,
        "flip": data.flip,
        "colour": data.colour,
        "source_values": data.source_values,
        "lesion_class": None,
        "recipe": "quick",
        "seed": seed,
        "bundle": bundle,
        "run_id": f"{seed:032x}",
        **identity(data),
        **settings,
    }
    output.save_stage("fcn8" if bundle == "fcn" else "front", network.state_dict(), about, {}, 1)
    guard = DataGuard(data, output.models)
    guard.begin()
    guard.write()
    return folder
