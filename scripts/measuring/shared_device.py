"""One of several processes that train all networks in turns on the same device; see `scripts.benchmarks.evidence`.

The argument is a task such as {"number": 0, "device": "cuda", "folder": "...", "recipe": "tissue", "tiny": false,
"num_workers": 1}. The process prints a line of JSON per trained epoch, and runs until it is killed.
"""

from __future__ import annotations

import json
import logging
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from monai.engines import SupervisedTrainer

from engines.base.precision import precision_on
from engines.inference.inferers import MirrorAveraging
from engines.inference.whole_image import WholeImageInferer
from engines.training.plan import Stage, plan
from scripts.measuring.bundle_networks import recipe_of
from scripts.measuring.drawn_dataset import drawn_dataset
from scripts.measuring.gpu_groups import NETWORKS
from scripts.measuring.loop_rows import stage_trainer

MARK = "EPOCH "
"""Prefix of a line with an epoch."""
TRAINED, VALIDATED = 48, 12
"""Training and validation images per fold of the 60 mammograms of docs/results.md."""


@dataclass(frozen=True)
class Epoch:
    """Times of an epoch of one stage, and of one whole validation image.

    Attributes:
        network: name of the bundle.
        stage: stage of the network.
        warm: whether the process had trained an epoch of every stage before this one began.
        began: begin in seconds, by a clock common to all processes.
        seconds: duration of the epoch.
        image_seconds: time for a whole image, and its mirror image if the recipe averages both.
    """

    network: str
    stage: str
    warm: bool
    began: float
    seconds: float
    image_seconds: float


def stages_of_all(recipe: str, tiny: bool = False) -> dict[tuple[str, str], Stage]:
    """Return the stages of all networks in a recipe: (network, stage) → stage."""
    found = {}
    for network in NETWORKS:
        numbers = recipe_of(network, recipe)
        for stage in plan(numbers["stages"], numbers["max_epochs"], numbers["crop_size"], numbers["learning_rate"]):
            small = Stage(stage.name, stage.max_epochs, (48, 32), stage.learning_rate)
            found[network, stage.name] = small if tiny else stage
    return found


def epochs(task: dict[str, Any]) -> Iterator[Epoch]:
    """Train one epoch of every stage, then epochs of stages drawn in proportion to their number of epochs."""
    device, tiny, recipe = torch.device(task["device"]), task["tiny"], task["recipe"]
    stages = stages_of_all(recipe, tiny)
    height = 64 if tiny else recipe_of(NETWORKS[0], recipe)["image_height"]
    data = drawn_dataset(Path(task["folder"]) / str(task["number"]), 4 if tiny else TRAINED, (height, height // 2))
    options: dict[str, Any] = {"recipe": recipe, "data": data, "num_workers": task["num_workers"]}
    if tiny:
        options |= {"width": 0.02, "image_height": None, "batch_size": 2, "micro_batch_size": 2}
    made = {
        (network, name): stage_trainer(network, stage, {**options, "stages": [name]}, device)
        for (network, name), stage in stages.items()
    }
    image = torch.rand(1, 3, height, height // 2, device=device) - 0.5
    mirrored = {network: recipe_of(network, recipe)["mirror_averaging"] for network in NETWORKS}
    draws = random.Random(task["number"])
    for key in stages:
        yield _epoch(key, made[key], image, mirrored[key[0]], warm=False)
    while True:
        (key,) = draws.choices(list(stages), [stage.max_epochs for stage in stages.values()])
        yield _epoch(key, made[key], image, mirrored[key[0]], warm=True)


def _epoch(key: tuple[str, str], trainer: SupervisedTrainer, image: torch.Tensor, mirrored: bool, warm: bool) -> Epoch:
    began = _now(image.device)
    trainer.state.max_epochs = trainer.state.epoch + 1
    trainer.run()
    ended = _now(image.device)
    network = trainer.network.eval()
    with torch.no_grad():
        MirrorAveraging(WholeImageInferer(precision=precision_on("auto", image.device)), mirrored)(image, network)
    return Epoch(*key, warm, began, ended - began, _now(image.device) - ended)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.time()


def main() -> int:
    """Print the epochs as they are trained."""
    logging.getLogger("mammoseg").setLevel(logging.ERROR)
    for epoch in epochs(json.loads(sys.argv[1])):
        print(MARK + json.dumps(asdict(epoch)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
