"""Batches that come from files once the output of a network's frozen layers is in them."""

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
"""Keys of a batch: its labels, kept as bytes if they fit, what was kept of its images, its file, the type of labels."""


class BatchFiles:
    """One file per batch, written atomically: the maps (N, C, h, w) as the network made them, and the labels.

    Args:
        folder: made when first written to.
        give_up: called when the disk does not take a file; no other is written then.
    """

    def __init__(self, folder: Path, give_up: Callable[[], None]) -> None:
        self.folder, self._give_up = folder, give_up
        self._writes = True

    def path(self, dataset: EpochDataset, number: int) -> Path:
        """The file of a batch of the present epoch."""
        size = "x".join(map(str, rows_and_columns(dataset.crop_size)))
        return self.folder / f"{size}-{'-'.join(map(str, dataset.epoch_key))}-{number}.pt"

    def write(self, path: Path, maps: Tensor, label: Tensor) -> None:
        """Keep a batch; after an error of the disk, none."""
        if not self._writes:
            return
        try:
            small = label.to(torch.uint8)  # augmentation makes floats of them
            kept = small if torch.equal(small.to(label.dtype), label) else label
            save_checkpoint({MAPS: _plain(maps), LABEL: _plain(kept), DTYPE: label.dtype}, path)
        except OSError as error:
            self._writes = False
            self._give_up()  # the disk may be full of it
            logger.warning(
                "%s: cannot keep the output of the frozen layers (%s); the training computes it in every epoch",
                *(self.folder, error.strerror or type(error).__name__),
            )


def _plain(tensor: Tensor) -> Tensor:
    """On the CPU, without metadata, with the values of the tensor alone and in its layout."""
    return tensor.detach().as_subclass(Tensor).cpu().clone(memory_format=torch.preserve_format)


def read_batch(path: Path) -> dict[str, Tensor] | None:
    """What `BatchFiles.write` kept; None if there is no such file, or a damaged one."""
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
    """Batches as items: each as it was kept in a file, or made of its crops, with the file to keep it in."""

    def __init__(self, dataset: EpochDataset, collate: Callable[[list[Any]], dict[str, Any]]) -> None:
        self.dataset, self.collate = dataset, collate

    @property
    def epoch_key(self) -> tuple[int, ...]:
        """Of the present epoch."""
        return self.dataset.epoch_key

    @property
    def crop_size(self) -> CropSize:
        """In the present epoch."""
        return self.dataset.crop_size

    def __getitem__(self, batch: tuple[Path, Sequence[Any]]) -> dict[str, Any]:
        path, crops = batch
        kept = read_batch(path)
        if kept is not None:
            return kept
        return {**self.collate([self.dataset[crop] for crop in crops]), FILE: str(path)}


class BatchSampler(Sampler[tuple[Path, Sequence[Any]]]):
    """The file and the crops of each batch of the present epoch of a loader."""

    def __init__(self, loader: DataLoader[Any], files: BatchFiles) -> None:
        self.loader, self.files = loader, files

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Path, Sequence[Any]]]:
        dataset: Any = self.loader.dataset
        batches = enumerate(self.loader.batch_sampler or ())
        return iter([(self.files.path(dataset, number), crops) for number, crops in batches])


class CachedLoader:
    """An `EpochLoader` whose batches are read where they were kept, with as many processes, persistent or not.

    Attributes:
        dataset, sampler: those of the loader.
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
        """Have its processes read the first batches of the present epoch."""
        self.batches.begin()

    def close(self) -> None:
        """End its processes."""
        self.batches.close()


def _as_it_is(batch: Any) -> Any:
    return batch


class SplitNetwork:
    """In place of a network for one pass: `after_frozen` of the maps, made of the image unless they are there."""

    def __init__(self, network: Any, maps: Tensor | None) -> None:
        self.module: nn.Module = network
        self.training = network.training
        self.maps = maps

    def __call__(self, image: Tensor) -> Any:
        """What the network returns for images (N, C, H, W); of them only the size counts if there are maps."""
        network: Any = self.module
        if self.maps is None:
            self.maps = network.frozen_output(image)
            if self.maps.requires_grad:
                raise UserError(
                    f"--cache_frozen true: {type(network).__name__}.frozen_output depends on weights that are trained; "
                    "have it return what the frozen layers make, or leave --cache_frozen out"
                )
        return network.after_frozen(self.maps, image)


class SplitInferer(Inferer):
    """Runs an inferer from what was kept of a batch, or keeps it.

    `prepare` takes the place of a trainer's `prepare_batch`, and gives its arguments.

    Args:
        inferer: how the network is run; whole, it would give the same.
        prepare: of the trainer.
        files: where batches are kept.
    """

    def __init__(self, inferer: Inferer, prepare: Callable[..., Any], files: BatchFiles) -> None:
        super().__init__()
        self.inferer, self._prepare, self.files = inferer, prepare, files

    def prepare(self, batch: dict[str, Any], device: Any = None, non_blocking: bool = False, **more: Any) -> Any:
        """The images, the labels, and how `__call__` is to take them; of a batch that was kept the images are empty."""
        label = batch[LABEL]
        if MAPS not in batch:
            return *self._prepare(batch, device, non_blocking, **more), (), {"keep": (Path(batch[FILE]), label)}
        maps, label = (x.to(device=device, non_blocking=non_blocking, **more) for x in (batch[MAPS], label))
        image = maps.new_zeros(1, dtype=torch.float32).expand(len(label), CHANNELS, *label.shape[-2:])
        return image, label, (), {"maps": maps}

    def __call__(
        self, inputs: Tensor, network: Any, maps: Tensor | None = None, keep: tuple[Path, Tensor] | None = None
    ) -> Any:
        """The logits of a batch, from its maps if they are there, else from its images."""
        split = SplitNetwork(network, maps)
        logits = self.inferer(inputs, split)
        if keep is not None and split.maps is not None:
            self.files.write(keep[0], split.maps, keep[1])
        return logits
