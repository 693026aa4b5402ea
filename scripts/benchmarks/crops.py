"""Class-balanced crops of full-resolution mammograms: `RandBalancedCropd` against MONAI's stock transforms.

    python -m scripts.benchmark crops [--images 4] [--crops 200] [--crop_size 256] [--json]

Three ways to the same thing, a normalized crop of 16-bit images of 3328 x 2560 pixels with 12 classes, centered on a
pixel of a class drawn at random, in the same process and from the same files:

    mapped   RandBalancedCropd, NormalizeRanged: the files are memory-mapped, a crop reads its own bytes
    loaded   LoadImaged, EnsureChannelFirstd, ScaleIntensityd, RandCropByLabelClassesd: the whole image for each crop
    cached   the same with CacheDataset, and the pixels of each class found beforehand (ClassesToIndicesd)
    shared   the same without CacheDataset's copy of the whole cached image for every crop (copy_cache=False)

Torch computes with one thread, as it does in the workers of a `DataLoader`. The images are made in a temporary folder,
25 MB each; `cached` and `shared` hold about 140 MB for each in memory. The row counts that an importer keeps with a
dataset are there.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
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
    """Crops per second once everything is loaded, seconds until the first ones, and MB kept in memory for it."""

    name: str
    crops_per_second: float
    first_seconds: float
    memory_mb: float


def make_images(folder: Path, count: int) -> list[Item]:
    """Images with a bright half and ten rare structures of some thousand pixels each."""
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


def rate(name: str, draw: Callable[[int], Any], images: int, crops: int, memory: Callable[[], float]) -> Rate:
    """Draw one crop of each image, then `crops` more; only these count."""
    start = time.perf_counter()
    for number in range(images):
        draw(number)
    first = time.perf_counter() - start
    start = time.perf_counter()
    for number in range(crops):
        draw(number % images)
    return Rate(name, crops / (time.perf_counter() - start), first, memory() / 1e6)


def mapped(items: Sequence[Item], crop_size: int, crops: int) -> Rate:
    """The project's way."""
    crop = RandBalancedCropd(KEYS, crop_size, CLASSES, UBIQUITOUS)
    chain = Compose([crop, NormalizeRanged("image")])
    return rate(
        "mapped",
        lambda n: chain(items[n]),
        len(items),
        crops,
        lambda: float(sum(c.nbytes for c in crop._counts.values())),
    )


def stock(crop_size: int, **indices: Any) -> RandCropByLabelClassesd:
    """MONAI's crop with the same rule: all classes but the ubiquitous ones, equally often."""
    ratios = [float(each not in UBIQUITOUS) for each in range(CLASSES)]
    size = (crop_size, crop_size)
    return RandCropByLabelClassesd(KEYS, "label", size, ratios, CLASSES, 1, warn=False, **indices)


def loading() -> list[Any]:
    """MONAI's way to a normalized image."""
    return [
        LoadImaged(KEYS, reader="NumpyReader"),
        EnsureChannelFirstd(KEYS, channel_dim="no_channel"),
        ScaleIntensityd("image"),
    ]


def loaded(items: Sequence[Item], crop_size: int, crops: int) -> Rate:
    """Whole images for every crop."""
    chain = Compose([*loading(), stock(crop_size)])
    return rate("loaded", lambda n: chain(items[n]), len(items), crops, lambda: 0.0)


def cached(items: Sequence[Item], crop_size: int, crops: int, copy_cache: bool = True) -> Rate:
    """Everything in memory, and every pixel of each class in a list."""
    start = time.perf_counter()
    indices = ClassesToIndicesd("label", "_indices", CLASSES)
    chain = Compose([*loading(), indices, stock(crop_size, indices_key="label_indices")])
    data = CacheDataset(items, chain, num_workers=1, progress=False, copy_cache=copy_cache)
    made = time.perf_counter() - start
    found = rate(
        "cached" if copy_cache else "shared",
        lambda n: data[n],
        len(items),
        crops,
        lambda: float(sum(map(size_of, data._cache))),
    )
    return Rate(found.name, found.crops_per_second, found.first_seconds + made, found.memory_mb)


def size_of(thing: Any) -> int:
    """Bytes of all arrays in nested lists and dictionaries."""
    if isinstance(thing, torch.Tensor | np.ndarray):
        return int(thing.nbytes)
    if isinstance(thing, Mapping):
        return sum(map(size_of, thing.values()))
    return sum(map(size_of, thing)) if isinstance(thing, list | tuple) else 0


def crops(
    images: Annotated[int, typer.Option(min=1, help="Number of images, cropped in turn.")] = 4,
    count: Annotated[int, typer.Option("--crops", min=1, help="Crops to time; a tenth for slow methods.")] = 200,
    crop_size: Annotated[int, typer.Option("--crop_size", min=8, help="Side of a crop.")] = 256,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Crops per second and memory: memory-mapped, whole images loaded, or cached, with and without copies."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        items = make_images(Path(folder), images)
        ours = mapped(items, crop_size, count)
        others = [
            loaded(items, crop_size, max(1, count // 10)),
            cached(items, crop_size, max(1, count // 10)),
            cached(items, crop_size, count, copy_cache=False),
        ]
    if as_json:
        print(json.dumps([asdict(each) for each in (ours, *others)]))
        return
    table = Table(
        "", "crops/s", "first (s)", "memory (MB)", "times slower", title=f"{images} images, {crop_size} pixels"
    )
    for each in (ours, *others):
        slower = "" if each is ours else f"{ours.crops_per_second / each.crops_per_second:.3g}"
        figures = (each.crops_per_second, each.first_seconds, each.memory_mb)
        table.add_row(each.name, *(f"{value:.3g}" for value in figures), slower)
    Console().print(table)
