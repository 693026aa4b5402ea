"""Whole images of any supported format, for inference."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from transforms.errors import UserError
from transforms.flip import FLIPS, mirrored, must_flip
from transforms.given_spacing import given_spacing
from transforms.load import at_working_resolution
from transforms.plain_text import one_line
from transforms.reading import limits
from transforms.reading.dicom_attributes import IMPLAUSIBLE
from transforms.reading.dicom_intensity import WINDOWINGS
from transforms.reading.mammogram import Mammogram, read_mammogram
from transforms.reading.photographs import read_photograph

logger = logging.getLogger("mammoseg")


class LoadMammogramd(MapTransform):
    """Read any image file (`transforms.reading.mammogram`): path → float32 (1, h, w) at the working resolution.

    Also sets `intensity_range`, `original_size` (rows, columns) and `spacing_mm` (row, column; 1.0 if unknown), which
    later transforms and writers use, and `facts` of the file: "path", "laterality", "view", "spacing_source",
    "spacing_known" and "burned_in" ("yes", "no"); these are texts, "" if unknown.

    Args:
        keys: image keys.
        image_height: see `RandBalancedCropd`.
        windowing: see `read_mammogram`; as for the training images.
        bits: see `read_mammogram`; as for the training images.
        flip: "left" or "right" mirrors images whose breast is on the other side (`transforms.flip`) and sets
            `mirrored`, by which `Unmirrord` undoes it.
        colour: read photographs, float32 (3, h, w), instead of mammograms.
        max_megapixels: larger images are refused, see `transforms.reading.limits`.
        max_memory_gb: images that need more are refused, see `transforms.reading.limits`.
        spacing: (row, column) pixel size in mm, or one number, for images that state none.

    If `d["recorded"]` holds the image's properties from dataset.json, these are used instead of windowing and bits.

    Raises:
        UserError: invalid windowing, bits, flip, spacing or limit.
    """

    def __init__(
        self,
        keys: KeysCollection,
        image_height: int | None = None,
        windowing: str = "voi",
        bits: int | None = None,
        flip: str = "none",
        colour: bool = False,
        max_megapixels: float = limits.MEGAPIXELS,
        max_memory_gb: float = limits.MEMORY_GB,
        spacing: Any = None,
    ) -> None:
        super().__init__(keys)
        _check(windowing, bits, flip)
        self.image_height = image_height
        self.windowing = windowing
        self.bits = bits
        self.flip = flip
        self.colour = colour
        self.spacing = given_spacing(spacing)
        self.limits = limits.Limits(max_megapixels, max_memory_gb)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            with limits.limited(self.limits):
                path, mammogram = d[key], self._read(d[key], d.get("recorded"))
            if mammogram.spacing_mm is None and self.spacing is not None:
                mammogram = replace(mammogram, spacing_mm=self.spacing, spacing_source="--spacing")
            side = mammogram.laterality
            if (d.get("recorded") or {}).get("flipped"):
                side = {"L": "R", "R": "L"}.get(side or "")  # the breast is where the other one would be
            d["mirrored"], _ = must_flip(mammogram.pixels, side, self.flip)
            pixels = mirrored(mammogram.pixels) if d["mirrored"] else mammogram.pixels
            d[key] = at_working_resolution(pixels, self.image_height)
            d["intensity_range"] = list(mammogram.intensity_range)
            d["original_size"] = list(mammogram.pixels.shape[:2])
            d["spacing_mm"] = list(mammogram.spacing_mm or (1.0, 1.0))
            d["facts"] = _facts(path, mammogram)
        return d

    def _read(self, path: Any, recorded: Mapping[str, Any] | None) -> Mammogram:
        if self.colour:
            return read_photograph(path)
        if recorded is not None:
            return _not_blank(path, _of_dataset(path, recorded, self.windowing))
        mammogram = _not_blank(path, read_mammogram(path, windowing=self.windowing, bits=self.bits))
        if mammogram.spacing_source.startswith(IMPLAUSIBLE) and self.spacing is None:
            logger.warning("%s: no areas in mm²: %s", one_line(Path(path).name), mammogram.spacing_source)
        _warn_of_unused_bits(path, mammogram)
        return mammogram


def _check(windowing: Any, bits: Any, flip: Any) -> None:
    """Raise UserError for invalid options: another flip would mirror all images, too many bits make them black."""
    for option, value, choices in (("windowing", windowing, WINDOWINGS), ("flip", flip, FLIPS)):
        if value not in choices:
            raise UserError(f"--{option} {value}: unknown; choose from {', '.join(choices)}")
    if bits is not None and (type(bits) is not int or not 1 <= bits <= 16):
        raise UserError(f"--bits {bits}: expected a whole number from 1 to 16, such as 12")


def _not_blank(path: Any, mammogram: Mammogram) -> Mammogram:
    """Refuse an image of one value: a network would report findings even there."""
    lowest, highest = mammogram.pixels.min(), mammogram.pixels.max()
    if lowest == highest:
        raise UserError(
            f"{path}: blank, every pixel is {lowest} ({mammogram.intensity_source}); check the image, and its window "
            "and rescale values"
        )
    return mammogram


def _of_dataset(path: Any, recorded: Mapping[str, Any], windowing: str) -> Mammogram:
    """An image of a dataset folder: pixels that an importer has windowed, with their properties from dataset.json."""
    if recorded["windowing"] != windowing:
        logger.warning(
            "%s: imported with windowing %s, but the model was trained with %s",
            *(one_line(path), one_line(recorded["windowing"]), windowing),
        )
    low, high = recorded["intensity_range"]
    spacing = recorded.get("spacing_mm")
    return replace(
        read_mammogram(path, windowing="none"),
        intensity_range=(int(low), int(high)),
        laterality=recorded.get("laterality"),
        view=recorded.get("view"),
        spacing_mm=None if spacing is None else (float(spacing[0]), float(spacing[1])),
        spacing_source=recorded.get("spacing_source", "none"),
        burned_in=recorded.get("burned_in"),
    )


def _facts(path: Any, mammogram: Mammogram) -> dict[str, str]:
    """Properties of the file as texts, with no key missing, so that a data loader can collate them."""
    return {
        "path": str(path),
        "laterality": mammogram.laterality or "",
        "view": mammogram.view or "",
        "spacing_source": mammogram.spacing_source,
        "spacing_known": "no" if mammogram.spacing_mm is None else "yes",
        "burned_in": {True: "yes", False: "no", None: ""}[mammogram.burned_in],
    }


def _warn_of_unused_bits(path: Any, mammogram: Mammogram) -> None:
    """Warn if the values are far below the type's maximum: the image is probably too dark for the network."""
    highest, possible = int(mammogram.pixels.max()), mammogram.intensity_range[1]
    if possible > 255 and 0 < highest * 4 < possible:
        logger.warning(
            "%s: no pixel exceeds %d of %d possible; if fewer bits are used, specify --bits",
            *(one_line(Path(path).name), highest, possible),
        )
