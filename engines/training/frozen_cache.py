"""Output of a network's frozen layers, cached on disk for batches that recur (`--cache_frozen true`).

The front of Dilation10 does not change in the stage `context`. If crops recur (`--crop_draws`), its output for a batch
is computed once, written to models/frozen/, and read in later epochs, which then need neither image nor front. The
stored output is exactly the computed one, so the training is bitwise the same.

A file is read only by the training that wrote it: the folder's name is a digest of the frozen weights, the settings,
some of the crops, and everything else the result depends on. It is removed when the stage ends.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from monai.engines import SupervisedTrainer
from torch import Tensor, nn

from engines.base.world import world_size
from engines.inference.tiling.memory import on_meta, size_of
from engines.training.epoch_loader import end_reading
from engines.training.epochs import begin_epoch
from engines.training.frozen_batches import CHANNELS, BatchFiles, CachedLoader, SplitInferer
from engines.training.interrupted import FREE
from engines.training.plan import Stage, set_stage
from transforms.crops import rows_and_columns
from transforms.errors import UserError

logger = logging.getLogger("mammoseg")

FOLDER = "frozen"
OPTION = "--cache_frozen true"
PACKAGES = ("torch", "monai", "numpy")


class FrozenCache:
    """Lets a trainer read the batches of a stage with frozen layers from files.

    Args:
        enabled: False changes nothing.
        trainer: its data loader and inferer are replaced inside `of_stage`.
        models: parent folder of `FOLDER`.
    """

    def __init__(self, enabled: bool, trainer: SupervisedTrainer, models: Path) -> None:
        self.enabled, self.trainer = enabled, trainer
        self.folder = models / FOLDER

    def check(self, plan: Sequence[Stage], network: nn.Module) -> None:
        """Log how much will be written, in advance.

        Raises:
            UserError: the output cannot be cached, or the disk has no room for it.
        """
        if not self.enabled:
            return
        if world_size() > 1:
            raise UserError(f"{OPTION}: does not go with several processes; leave it out, or start one")
        if getattr(self.trainer.inferer, "compiled", False):
            raise UserError(f"{OPTION} does not go with --compile true; give one of them")
        stages = [stage for stage in plan if stage.name in frozen_stages(network)]
        if not stages:
            names = ", ".join(stage.name for stage in plan)
            raise UserError(f"{OPTION}: no layers are frozen in {names}, so nothing can be cached; leave it out")
        for stage in stages:
            if not 0 < stage.crop_draws < stage.max_epochs:
                raise UserError(
                    f"{OPTION}: crops of stage {stage.name} do not recur: it has {stage.max_epochs} epochs and "
                    f"--crop_draws {stage.crop_draws}; give --crop_draws \"{{'{stage.name}': 1}}\", or more draws, but "
                    "fewer than epochs"
                )
            self._check_room(stage, network)

    def _check_room(self, stage: Stage, network: nn.Module) -> None:
        crops = len(self.trainer.data_loader.dataset)  # type: ignore[arg-type]
        needed = crops * bytes_per_draw(stage, network)
        there = sum(path.stat().st_size for path in self.folder.glob("*/*")) if self.folder.is_dir() else 0
        exists = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        free = shutil.disk_usage(exists).free
        text = f"{needed / 1e6:.1f} MB for {stage.crop_draws} x {crops} crops of stage {stage.name}"
        if free + there < needed:
            raise UserError(
                f"{OPTION}: needs {text}, and {self.folder} has {(free + there) / 1e6:.1f} MB left; make room, give "
                "fewer --crop_draws or another --output_dir, or leave it out"
            )
        logger.info("The output of frozen layers is cached in %s: up to %s.", self.folder, text)

    @contextmanager
    def of_stage(self, index: int, stage: Stage, network: nn.Module, settings: Mapping[str, Any]) -> Iterator[None]:
        """Make the trainer read the batches of a stage from files inside the block; remove the files at its end."""
        if not self.enabled or stage.name not in frozen_stages(network):
            yield
            return
        trainer = self.trainer
        folder = self.folder / self._key(index, stage, network, settings)
        self.clear(besides=folder)
        files = BatchFiles(folder, self.clear)
        end_reading(trainer)  # its processes would idle beside those that read the files
        before = trainer.data_loader, trainer.prepare_batch, trainer.inferer
        inferer = SplitInferer(trainer.inferer, trainer.prepare_batch, files)
        trainer.data_loader = CachedLoader(trainer.data_loader, files)  # type: ignore[arg-type]
        trainer.prepare_batch, trainer.inferer = inferer.prepare, inferer
        try:
            yield
        finally:
            end_reading(trainer)
            trainer.data_loader, trainer.prepare_batch, trainer.inferer = before
        self.clear()

    def clear(self, besides: Path | None = None) -> None:
        """Remove all cached files, except for one folder."""
        if besides is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        for other in self.folder.glob("*") if self.folder.is_dir() else ():
            if other != besides:
                shutil.rmtree(other, ignore_errors=True)

    def _key(self, index: int, stage: Stage, network: nn.Module, settings: Mapping[str, Any]) -> str:
        """Return a digest of everything that the maps of a batch depend on."""
        loader: Any = self.trainer.data_loader
        begin_epoch(loader, index, stage, 1)
        loader.dataset.prepare()
        crops = loader.collate_fn([loader.dataset[number] for number in next(iter(loader.batch_sampler))])
        device = next(network.parameters()).device
        about = {
            "settings": {key: value for key, value in settings.items() if key not in FREE},
            "stage": [index, stage.name, stage.crop_draws],
            "network": repr(network),
            "device": [torch.cuda.get_device_name(device) if device.type == "cuda" else device.type],
            "precision": getattr(self.trainer.inferer, "precision", "fp32"),
            "threads": torch.get_num_threads(),
            "versions": [version(name) for name in PACKAGES],
        }
        digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
        drawn = [(key, value) for key, value in crops.items() if isinstance(value, Tensor)]
        for name, tensor in (*drawn, *frozen_tensors(network)):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} {tensor.stride()} ".encode())
            digest.update(_bytes(tensor))
        return digest.hexdigest()[:16]


def frozen_stages(network: nn.Module) -> frozenset[str]:
    """Return the stages of a network that can run in two parts, see `nets.stages.StagedNetwork.frozen_stages`."""
    return frozenset(getattr(network, "frozen_stages", ()))


def frozen_tensors(network: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the parameters that are not trained, and the buffers, by name."""
    frozen = [(name, value) for name, value in network.named_parameters() if not value.requires_grad]
    return [*frozen, *network.named_buffers()]


def bytes_per_draw(stage: Stage, network: nn.Module) -> int:
    """Return the bytes stored for all draws of one crop: labels and maps."""
    parts: list[tuple[Any, int]] = [(stage.crop_size, stage.crop_epochs)]
    if stage.fine_tuning is not None:
        parts.append((stage.fine_tuning.crop_size, stage.max_epochs - stage.crop_epochs))
    meta: Any = on_meta(network)
    set_stage(meta, stage.name)
    total = 0
    for crop_size, epochs in parts:
        rows, columns = rows_and_columns(crop_size)
        with torch.no_grad():
            maps = meta.frozen_output(torch.empty(1, CHANNELS, rows, columns, device="meta"))
        total += min(stage.crop_draws, epochs) * (rows * columns + size_of(maps))
    return total


def _bytes(tensor: Tensor) -> bytes:
    plain = tensor.detach().as_subclass(Tensor).cpu().contiguous()
    return plain.flatten().view(torch.uint8).numpy().tobytes()
