"""Class-balanced crops of full-resolution mammograms: `RandBalancedCropd` against MONAI's stock transforms.

    python -m scripts.benchmark crops [--images 4] [--crops 200] [--crop_size 256] [--json]

Each way draws the same kind of crop in the same process and from the same files: normalized, from 16-bit images of
3328 x 2560 pixels with 12 classes, centered on a pixel of a random class.

    mapped   RandBalancedCropd, NormalizeRanged: files are memory-mapped, and a crop reads only its own bytes
    loaded   LoadImaged, EnsureChannelFirstd, ScaleIntensityd, RandCropByLabelClassesd: the whole image per crop
    cached   the same with CacheDataset, and precomputed pixel indices of each class (ClassesToIndicesd)
    shared   the same without CacheDataset's copy of the whole cached image per crop (copy_cache=False)

Each crop is copied into a batch, because the crop of a cached image is a view that has not been read. Times are
processor seconds, and all ways take turns. Torch uses one thread, as in the workers of a `DataLoader`. Images are
written to a temporary folder, 25 MB each, with the row counts that an importer stores; `cached` and `shared` hold
about 140 MB per image in memory.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from monai.data import CacheDataset
from monai.transforms import (
    ClassesToIndicesd,
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    RandCropByLabelClassesd,
    ScaleIntensityd,
)
from rich.console import Console
from rich.table import Table

from transforms.crops import RandBalancedCropd
from transforms.normalize import NormalizeRanged
from transforms.row_counts import FOLDER, counts_file, row_counts

SHAPE, CLASSES, UBIQUITOUS = (3328, 2560), 12, (0, 1)
KEYS = ["image", "label"]
Item = dict[str, Any]


@dataclass(frozen=True)
class Rate:
    """Crops per second after loading (median), ratio of the rate of `mapped` to this in each turn, seconds until one
    crop of each image, and MB held in memory.
    """

    name: str
    crops_per_second: float
    ratios: list[float]
    first_seconds: float
    memory_mb: float


@dataclass(frozen=True)
class Way:
    """Way to make crops: function from the number of an image to a crop, bytes held in memory, seconds of preparation,
    and factor by which the number of timed crops is reduced.
    """

    name: str
    draw: Callable[[int], Any]
    memory: Callable[[], float]
    prepared: float = 0.0
    fewer: int = 1


def make_images(folder: Path, count: int) -> list[Item]:
    """Write images with a bright half and ten rare structures of some thousand pixels each."""
    items = []
    for name in ("images", "labels", FOLDER):
        (folder / name).mkdir()
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for number in range(count):
        rng = np.random.default_rng(number)
        label = (columns < SHAPE[1] // 2).astype(np.uint8)
        for each in range(2, CLASSES):
            center, radius = rng.integers(100, 1200, 2), rng.integers(5, 60)
            box = np.s_[center[0] - radius : center[0] + radius, center[1] - radius : center[1] + radius]
            disk = (rows[box] - center[0]) ** 2 + (columns[box] - center[1]) ** 2 < radius**2
            label[box][disk] = each
        image = rng.integers(0, 2**12, SHAPE, dtype=np.uint16) + 4000 * label.astype(np.uint16)
        item: Item = {"intensity_range": [0, 2**16 - 1]}
        for key, array in zip(KEYS, (image, label), strict=True):
            item[key] = str(folder / f"{key}s" / f"{number}.npy")
            np.save(item[key], array)
        np.save(counts_file(item["label"]), row_counts(label, CLASSES))
        items.append(item)
    return items


def rates(ways: Sequence[Way], images: int, crops: int, repeats: int) -> list[Rate]:
    """Draw one crop of each image, then time `crops` more in each of `repeats` turns of all ways."""
    first = [way.prepared + _seconds(way, images, images) for way in ways]
    turns = [
        [max(1, crops // way.fewer) / _seconds(way, max(1, crops // way.fewer), images) for way in ways]
        for _ in range(repeats)
    ]
    return [
        Rate(
            way.name,
            median(turn[number] for turn in turns),
            [turn[0] / turn[number] for turn in turns],
            first[number],
            way.memory() / 1e6,
        )
        for number, way in enumerate(ways)
    ]


def _seconds(way: Way, crops: int, images: int) -> float:
    """Return processor seconds for crops that are copied into a batch."""
    batch: dict[str, torch.Tensor] = {}
    start = time.process_time()
    for number in range(crops):
        drawn = way.draw(number % images)
        for key, crop in (drawn[0] if isinstance(drawn, list) else drawn).items():
            if key in KEYS:
                batch.setdefault(key, torch.empty(crop.shape, dtype=crop.dtype)).copy_(crop)
    return time.process_time() - start


def mapped(items: Sequence[Item], crop_size: int) -> Way:
    """Return the way of this project."""
    crop = RandBalancedCropd(KEYS, crop_size, CLASSES, UBIQUITOUS)
    chain = Compose([crop, NormalizeRanged("image")])
    return Way("mapped", lambda n: chain(items[n]), lambda: float(sum(c.nbytes for c in crop._counts.values())))


def stock(crop_size: int, **indices: Any) -> RandCropByLabelClassesd:
    """Return MONAI's crop with the same rule: all classes but the ubiquitous ones, with equal probability."""
    ratios = [float(each not in UBIQUITOUS) for each in range(CLASSES)]
    size = (crop_size, crop_size)
    return RandCropByLabelClassesd(KEYS, "label", size, ratios, CLASSES, 1, warn=False, **indices)


def loading() -> list[Any]:
    """Return MONAI's transforms that load a normalized image."""
    return [
        LoadImaged(KEYS, reader="NumpyReader"),
        EnsureChannelFirstd(KEYS, channel_dim="no_channel"),
        ScaleIntensityd("image"),
    ]


def loaded(items: Sequence[Item], crop_size: int) -> Way:
    """Return the way that loads a whole image per crop."""
    chain = Compose([*loading(), stock(crop_size)])
    return Way("loaded", lambda n: chain(items[n]), lambda: 0.0, fewer=100)


def cached(items: Sequence[Item], crop_size: int, copy_cache: bool = True) -> Way:
    """Return the way that caches images and the pixel indices of each class in memory."""
    start = time.process_time()
    indices = ClassesToIndicesd("label", "_indices", CLASSES)
    chain = Compose([*loading(), indices, stock(crop_size, indices_key="label_indices")])
    data = CacheDataset(items, chain, num_workers=1, progress=False, copy_cache=copy_cache)
    name, fewer = ("cached", 100) if copy_cache else ("shared", 1)
    made = time.process_time() - start
    return Way(name, lambda n: data[n], lambda: float(sum(map(size_of, data._cache))), made, fewer)


def size_of(thing: Any) -> int:
    """Return the bytes of all arrays in nested lists and dictionaries."""
    if isinstance(thing, torch.Tensor | np.ndarray):
        return int(thing.nbytes)
    if isinstance(thing, Mapping):
        return sum(map(size_of, thing.values()))
    return sum(map(size_of, thing)) if isinstance(thing, list | tuple) else 0


def crops(
    images: Annotated[int, typer.Option(min=1, help="Number of images, cropped in turn.")] = 4,
    count: Annotated[int, typer.Option("--crops", min=1, help="Per turn; a hundredth for slow methods.")] = 200,
    crop_size: Annotated[int, typer.Option("--crop_size", min=8, help="Side of a crop.")] = 256,
    repeats: Annotated[int, typer.Option(min=1, help="Turns; the median is reported.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Crops per second and memory of memory-mapped, loaded and cached images, with and without copies of the cache."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        items = make_images(Path(folder), images)
        ways = [mapped(items, crop_size), loaded(items, crop_size)]
        ways += [cached(items, crop_size, copy_cache) for copy_cache in (True, False)]
        found = rates(ways, images, count, repeats)
    if as_json:
        print(json.dumps([asdict(each) for each in found]))
        return
    heads = ("", "crops/s", "mapped / this", "first (s)", "memory (MB)")
    table = Table(*heads, title=f"{images} images, {crop_size} pixels")
    for each in found:
        low, middle, high = min(each.ratios), median(each.ratios), max(each.ratios)
        faster = f"{middle:.3g} ({low:.3g} to {high:.3g})"
        table.add_row(
            each.name, f"{each.crops_per_second:.3g}", faster, f"{each.first_seconds:.3g}", f"{each.memory_mb:.3g}"
        )
    Console().print(table)
