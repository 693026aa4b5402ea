"""Iterations of a bundle's trainer, with reading, augmentation, loss, metrics and handlers, against bare steps.

The trainer is that of the bundle's config, on synthetic images. Validation, tracking and work after an epoch are left
out, as is the sampling of lesions: crops are centered on a class of their image.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from ignite.engine import Events
from monai.bundle import ConfigParser
from monai.data import set_track_meta
from monai.engines import SupervisedTrainer

from engines.base.precision import precision_on
from engines.base.signals import end_if_asked
from engines.training.divergence import LossWatch, loss_of
from engines.training.epoch_loader import end_reading, read_ahead
from engines.training.epochs import begin_epoch, seed_all
from engines.training.plan import Stage, plan
from scripts.measuring.bundle_networks import recipe_of, train_config
from scripts.measuring.drawn_dataset import CLASSES, drawn_dataset
from scripts.measuring.gpu_groups import Group
from scripts.measuring.rows import Row
from scripts.measuring.timing import device_name
from scripts.measuring.watch import Watch, clock_of

IMAGES = 24
FULL = (2048, 1536)
"""Rows and columns of images that are not resized."""


def loop_rows(group: Group, wanted: Mapping[str, Mapping[str, Any]], device: torch.device, tiny: bool) -> Iterator[Row]:
    """Measure one row: the iteration with the default precision, layout and workers of this device."""
    logging.getLogger("mammoseg").setLevel(logging.ERROR)
    recipe = recipe_of(group.network, group.size)
    (stage,) = plan([recipe["stages"][-1]], 1, recipe["crop_size"], recipe["learning_rate"])
    height = recipe["image_height"]
    size = FULL if height is None else (height, 3 * height // 4)
    with tempfile.TemporaryDirectory() as folder:
        data = drawn_dataset(Path(folder), 4 if tiny else IMAGES, (64, 48) if tiny else size)
        options: dict[str, Any] = {"recipe": group.size, "stages": [stage.name], "data": data}
        if tiny:
            stage = Stage(stage.name, 2, (48, 32), stage.learning_rate)
            options |= {"width": 0.02, "image_height": None, "batch_size": 2, "micro_batch_size": 2}
        elif height is not None:
            options["crops_per_image"] = 16  # for a longer epoch
        watch, batch, peak_gb = _watched(group.network, stage, options, device, 2 if tiny else 4)
    ratios = [bare / real for real, bare in zip(watch.real, watch.bare, strict=True)]
    for way in wanted:
        yield Row(
            group=group.name, way=way, batch=" x ".join(map(str, batch)), device=device_name(device),
            torch=torch.__version__, seconds=median(watch.real), low=min(watch.real), high=max(watch.real),
            images_per_second=batch[0] / median(watch.real), ratio=median(ratios),
            peak_gb=peak_gb,
            note=f"bare step {median(watch.bare):.4f} s, {precision_on(recipe['precision'], device)}",
        )  # fmt: skip


def _watched(
    bundle: str, stage: Stage, options: Mapping[str, Any], device: torch.device, epochs: int
) -> tuple[Watch, list[int], float | None]:
    """Train; return the times, the shape of a batch, and the peak GPU memory in GB."""
    trainer = stage_trainer(bundle, stage, options, device)
    trainer.state.max_epochs = epochs
    peaks: list[float] = []
    if device.type == "cuda":  # recorded before bare steps allocate a copy of the network
        once = Events.EPOCH_COMPLETED(once=1)
        trainer.add_event_handler(once, lambda: peaks.append(torch.cuda.max_memory_allocated(device) / 1e9))
    watch = Watch(clock_of(device))
    watch.attach(trainer)
    trainer.run()
    end_reading(trainer)
    image = watch.batches[0]["image"]
    return watch, [image.shape[0], *image.shape[2:]], peaks[0] if peaks else None


def stage_trainer(bundle: str, stage: Stage, options: Mapping[str, Any], device: torch.device) -> SupervisedTrainer:
    """Return the trainer of a bundle's config with the crops, learning rate and checks of a stage, as in training."""
    set_track_meta(False)  # as in a training session
    trainer = trainer_of(bundle, options, device)
    loader = trainer.data_loader
    losses = LossWatch(len(CLASSES))

    def start() -> None:
        begin_epoch(loader, 0, stage, trainer.state.epoch)
        seed_all(0, 0, trainer.state.epoch)
        trainer.state.metrics["learning_rate"] = stage.learning_rate
        for group in trainer.optimizer.param_groups:
            group["lr"] = stage.learning_rate

    def stop_divergence() -> None:  # as StagedTraining does
        end_if_asked()
        losses.look(loss_of(trainer.state.output), stage, trainer.state)
        read_ahead(trainer, 0, stage)

    trainer.add_event_handler(Events.EPOCH_STARTED, start)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, stop_divergence)
    return trainer


def trainer_of(bundle: str, options: Mapping[str, Any], device: torch.device) -> SupervisedTrainer:
    """Build the trainer of a bundle's config from parts that need only torch, NumPy, SciPy, MONAI and ignite."""
    config = train_config(bundle)
    config["imports"] = [line for line in config["imports"] if "scripts" not in line]
    config |= {
        "device": f"$torch.device('{device}')",
        "init_weights": None,
        "sampling": "image",
        "samplings": {"image": None},
        "loss_function": {"_target_": "engines.WeightedCrossEntropy", "dice_weight": 1.0},
        **options,
    }
    config["train"] |= {"items": "$@data.items('training')", "handlers": [{"_target_": "engines.TrainingProgress"}]}
    parser = ConfigParser(config)
    trainer: SupervisedTrainer = parser.get_parsed_content("train::trainer")
    return trainer
