"""Batches that are read from files once these hold the output of a network's frozen layers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from engines.records.checkpoint import save_checkpoint
from engines.training.epoch_loader import EpochLoader
from engines.training.epochs import EpochDataset
from nets.safe_load import safe_load
from transforms.crops import CropSize, rows_and_columns
from transforms.errors import UserError

logger = logging.getLogger("mammoseg")

CHANNELS = 3
LABEL, MAPS, FILE, DTYPE = "label", "maps", "file", "dtype"
"""Keys of a batch: labels (stored as bytes if they fit), stored maps of its images, its file, dtype of the labels."""


class BatchFiles:
    """One file per batch, written atomically: the maps (N, C, h, w) as the network made them, and the labels.

    Args:
        folder: created on the first write.
        give_up: called if a file cannot be written; no further file is written then.
    """

    def __init__(self, folder: Path, give_up: Callable[[], None]) -> None:
        self.folder, self._give_up = folder, give_up
        self._writes = True

    def path(self, dataset: EpochDataset, number: int) -> Path:
        """Return the file of a batch of the current epoch."""
        size = "x".join(map(str, rows_and_columns(dataset.crop_size)))
        return self.folder / f"{size}-{'-'.join(map(str, dataset.epoch_key))}-{number}.pt"

    def write(self, path: Path, maps: Tensor, label: Tensor) -> None:
        """Store a batch; after a disk error, store nothing."""
        if not self._writes:
            return
        try:
            small = label.to(torch.uint8)  # augmentation converts labels to float
            kept = small if torch.equal(small.to(label.dtype), label) else label
            save_checkpoint({MAPS: _plain(maps), LABEL: _plain(kept), DTYPE: label.dtype}, path)
        except OSError as error:
            self._writes = False
            self._give_up()  # these files may have filled the disk
            logger.warning(
                "%s: cannot keep the output of the frozen layers (%s); the training computes it in every epoch",
                *(self.folder, error.strerror or type(error).__name__),
            )


def _plain(tensor: Tensor) -> Tensor:
    """Return a copy on the CPU, without metadata, with only the tensor's own values and in its layout."""
    return tensor.detach().as_subclass(Tensor).cpu().clone(memory_format=torch.preserve_format)


def read_batch(path: Path) -> dict[str, Tensor] | None:
    """Read what `BatchFiles.write` stored; None if the file is missing or damaged."""
    try:
        kept = safe_load(path)
        return {MAPS: kept[MAPS], LABEL: kept[LABEL].to(kept[DTYPE])}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    logger.warning("%s: damaged; computed again", path.name)
    return None


class Batches(Dataset[dict[str, Any]]):
    """Batches as items: each read from its file, or made from its crops with the file to store it in."""

    def __init__(self, dataset: EpochDataset, collate: Callable[[list[Any]], dict[str, Any]]) -> None:
        self.dataset, self.collate = dataset, collate

    @property
    def epoch_key(self) -> tuple[int, ...]:
        """Key of the current epoch."""
        return self.dataset.epoch_key

    @property
    def crop_size(self) -> CropSize:
        """Crop size in the current epoch."""
        return self.dataset.crop_size

    def __getitem__(self, batch: tuple[Path, Sequence[Any]]) -> dict[str, Any]:
        path, crops = batch
        kept = read_batch(path)
        if kept is not None:
            return kept
        return {**self.collate([self.dataset[crop] for crop in crops]), FILE: str(path)}


class BatchSampler(Sampler[tuple[Path, Sequence[Any]]]):
    """Yields the file and the crops of each batch of a loader's current epoch."""

    def __init__(self, loader: DataLoader[Any], files: BatchFiles) -> None:
        self.loader, self.files = loader, files

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Path, Sequence[Any]]]:
        dataset: Any = self.loader.dataset
        batches = enumerate(self.loader.batch_sampler or ())
        return iter([(self.files.path(dataset, number), crops) for number, crops in batches])


class CachedLoader:
    """An `EpochLoader` that reads stored batches from files, with the same number and persistence of processes.

    Attributes:
        dataset, sampler: dataset and sampler of the loader.
    """

    def __init__(self, loader: DataLoader[Any], files: BatchFiles) -> None:
        self.files = files
        self.dataset: Any = loader.dataset
        self.sampler: Any = loader.sampler
        self.batches = EpochLoader(
            Batches(self.dataset, loader.collate_fn),  # type: ignore[arg-type]
            sampler=BatchSampler(loader, files),
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=loader.num_workers,
            persistent_workers=loader.persistent_workers,
            pin_memory=loader.pin_memory,
        )

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.batches)

    def begin(self) -> None:
        """Make its processes read the first batches of the current epoch."""
        self.batches.begin()

    def close(self) -> None:
        """End its processes."""
        self.batches.close()


def _as_it_is(batch: Any) -> Any:
    return batch


class SplitNetwork:
    """Replaces a network for one pass: `after_frozen` of the maps, which are computed from the image if missing."""

    def __init__(self, network: Any, maps: Tensor | None) -> None:
        self.module: nn.Module = network
        self.training = network.training
        self.maps = maps

    def __call__(self, image: Tensor) -> Any:
        """Return the network's output for images (N, C, H, W), of which only the size is used if maps exist."""
        network: Any = self.module
        if self.maps is None:
            self.maps = network.frozen_output(image)
            if self.maps.requires_grad:
                raise UserError(
                    f"--cache_frozen true: {type(network).__name__}.frozen_output depends on weights that are trained; "
                    "have it return the output of the frozen layers, or leave --cache_frozen out"
                )
        return network.after_frozen(self.maps, image)


class SplitInferer(Inferer):
    """Runs an inferer on the stored maps of a batch, or stores them.

    `prepare` replaces a trainer's `prepare_batch`, and provides its arguments.

    Args:
        inferer: runs the network; for the whole network it would give the same result.
        prepare: `prepare_batch` of the trainer.
        files: files of the batches.
    """

    def __init__(self, inferer: Inferer, prepare: Callable[..., Any], files: BatchFiles) -> None:
        super().__init__()
        self.inferer, self._prepare, self.files = inferer, prepare, files

    def prepare(self, batch: dict[str, Any], device: Any = None, non_blocking: bool = False, **more: Any) -> Any:
        """Return images, labels and the arguments of `__call__`; for a stored batch the images are empty."""
        label = batch[LABEL]
        if MAPS not in batch:
            return *self._prepare(batch, device, non_blocking, **more), (), {"keep": (Path(batch[FILE]), label)}
        maps, label = (x.to(device=device, non_blocking=non_blocking, **more) for x in (batch[MAPS], label))
        image = maps.new_zeros(1, dtype=torch.float32).expand(len(label), CHANNELS, *label.shape[-2:])
        return image, label, (), {"maps": maps}

    def __call__(
        self, inputs: Tensor, network: Any, maps: Tensor | None = None, keep: tuple[Path, Tensor] | None = None
    ) -> Any:
        """Return the logits of a batch, from its maps if they exist, else from its images."""
        split = SplitNetwork(network, maps)
        logits = self.inferer(inputs, split)
        if keep is not None and split.maps is not None:
            self.files.write(keep[0], split.maps, keep[1])
        return logits
