"""Search and reading of label maps and probability maps of other tools."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from scripts.comparison.peers.probability_arrays import read_array
from scripts.comparison.peers.seg_reader import is_segmentation, read_segmentation
from scripts.importers.labels.label_images import read_label_image
from transforms.errors import UserError
from transforms.outputs.formats import ENDINGS

LABEL_SUFFIXES = (".png", ".nii.gz", ".nii", ".npy", ".tif", ".tiff", ".dcm")
LABEL_ENDINGS = (ENDINGS["png"], ENDINGS["nifti"], ENDINGS["dicom_seg"], *LABEL_SUFFIXES)
"""Endings after a case's name; those of this project's inference come first, as they contain the others."""

PROBABILITY_ENDINGS = (ENDINGS["probabilities"], "_prob.npy", "_prob.npz", ".npz")
"""Endings of probability maps; the last is that of nnU-Net (`--save_probabilities`, `--npz`)."""

MOST = 4
"""Largest number of values per pixel and class: limits memory before the shape of a probability map is checked."""


@dataclass(frozen=True)
class Found:
    """Files of one tool: case → path."""

    labels: dict[str, Path] = field(default_factory=dict)
    probabilities: dict[str, Path] = field(default_factory=dict)


def find(folder: Path, cases: Collection[str], option: str) -> Found:
    """Find the files of the cases in a folder and its subfolders; ignore others.

    Raises:
        UserError: the folder is missing, a case has no or several label maps, or only some cases have probabilities.
    """
    if not folder.is_dir():
        raise UserError(f"{option}: {folder} is not a folder; expected one with a label map per case, such as CASE.png")
    found = Found()
    for path in _files(folder):
        for files, endings in ((found.probabilities, PROBABILITY_ENDINGS), (found.labels, LABEL_ENDINGS)):
            case = _case(path.name, endings, cases)
            if case is None:
                continue
            files[case] = _preferred(files.get(case, path), path, endings, option)
            break
    _complete(found.labels, cases, folder, f"{option}: no label map", ", ".join(LABEL_SUFFIXES))
    if found.probabilities:
        _complete(found.probabilities, cases, folder, f"{option}: no probability map", ", ".join(PROBABILITY_ENDINGS))
    return found


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(place) / name for name in sorted(names))


def _case(name: str, endings: Collection[str], cases: Collection[str]) -> str | None:
    for ending in endings:
        if name.lower().endswith(ending) and name[: -len(ending)] in cases:
            return name[: -len(ending)]
    return None


def _preferred(known: Path, path: Path, endings: Sequence[str], option: str) -> Path:
    """Choose between two files of a case in one folder, such as PNG and NIfTI of a label map, by order of endings."""
    if known.parent != path.parent:
        raise UserError(f"{option}: two files of one case: {known} and {path}; remove one")
    return min(
        known, path, key=lambda file: next(n for n, end in enumerate(endings) if file.name.lower().endswith(end))
    )


def _complete(files: Collection[str], cases: Collection[str], folder: Path, what: str, endings: str) -> None:
    missing = sorted(set(cases) - set(files))
    if missing:
        raise UserError(
            f"{what} of {len(missing)} of {len(cases)} cases in {folder}, such as {missing[0]}; expected CASE and "
            f"one of {endings}"
        )


def read_labels(path: Path, class_names: list[str], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Read the values of a label map (rows, columns), uint8; for DICOM SEG, class numbers.

    Raises:
        UserError: the file cannot be read, or its size differs from that of the label.
    """
    values = read_segmentation(path, class_names) if is_segmentation(path) else read_label_image(path).values
    if values.shape != shape:
        raise UserError(
            f"{path}: is {values.shape[0]} x {values.shape[1]}, the label {shape[0]} x {shape[1]} (rows x columns); "
            "predict at the size of the dataset folder's images"
        )
    return values


def read_probability(path: Path, lesions: Sequence[int], classes: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Read the probability of a lesion (rows, columns); maps of another resolution are resized to `shape`.

    Args:
        lesions: numbers of the lesion classes, whose probabilities are summed.
        classes: number of classes.

    Raises:
        UserError: the file cannot be read, or its shape or values are invalid.
    """
    values = _channels(path, read_array(path, MOST * classes * shape[0] * shape[1]), classes)
    if not np.isfinite(values).all() or values.min() < -1e-3 or values.max() > 1 + 1e-3:
        raise UserError(f"{path}: values from {values.min():g} to {values.max():g}; expected probabilities from 0 to 1")
    lesion = values[0] if len(values) == 1 else values[list(lesions)].sum(axis=0)
    rows, columns = lesion.shape
    if abs(rows * shape[1] - columns * shape[0]) > sum(shape):  # more than rounding to whole pixels
        raise UserError(
            f"{path}: is {rows} x {columns}, the label {shape[0]} x {shape[1]} (rows x columns); expected the same "
            "aspect ratio"
        )
    if lesion.shape != shape:
        small = torch.from_numpy(np.ascontiguousarray(lesion))[None, None]
        lesion = F.interpolate(small, size=shape, mode="bilinear")[0, 0].numpy()
    clipped: NDArray[np.float32] = lesion.clip(0, 1)
    return clipped


def _channels(path: Path, values: NDArray[Any], classes: int) -> NDArray[np.float32]:
    """Return (1 or classes, rows, columns), without the axis of length 1 of nnU-Net's slices."""
    plain = values[None] if values.ndim == 2 else values
    if plain.ndim == 4 and plain.shape[1] == 1:
        plain = plain[:, 0]
    if plain.ndim != 3 or plain.shape[0] not in (1, classes) or plain.dtype.kind not in "fiub" or not plain.size:
        raise UserError(
            f"{path}: an array of {plain.dtype} and shape {values.shape}; expected (rows, columns) for the lesion's "
            f"probability, or ({classes}, rows, columns) for all classes"
        )
    return plain.astype(np.float32)
