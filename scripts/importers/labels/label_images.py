"""Label images: stored values, palettes and small bit depths.

A palette index has a meaning only with its palette: programs order palettes by the frequency of colors, so that 0 and
1 may be swapped between files. The 1 of a 1-bit image is 255 in other programs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transforms.errors import UserError
from transforms.reading.dicom import is_dicom, read_dicom
from transforms.reading.find_files import check_there
from transforms.reading.pictures import PILLOW_SUFFIXES, gray_bits, palette_of, read_picture

Color = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class LabelImage:
    """One label image.

    Attributes:
        values: uint8 (rows, columns), gray values or palette indices.
        bits: bits per pixel of a gray image: 1, 2, 4 or 8.
    """

    values: NDArray[np.uint8]
    bits: int = 8

    def in_other_scale(self) -> NDArray[np.uint8]:
        """Return values 0, 1, … of a 2-bit or 4-bit image with values scaled to 0 to 255; the reverse for 1 bit."""
        factor = 255 // (2**self.bits - 1)
        other = self.values * factor if self.bits == 1 else self.values // factor
        return np.asarray(other, np.uint8)


def read_label_image(path: Path) -> LabelImage:
    """Read the gray values, or palette indices, of a label image.

    Raises:
        UserError: as in `read_picture`, or values above 255.
    """
    check_there(path)
    dicom = is_dicom(path)
    values = read_dicom(path, "none")["pixels"] if dicom else read_picture(path, "index")[0]
    if values.max() > 255:
        raise UserError(f"{path}: holds values up to {values.max()}; expected label values from 0 to 255")
    return LabelImage(np.asarray(values, np.uint8), 8 if dicom else gray_bits(path))


def check_palettes(paths: Iterable[Path], named: Collection[int]) -> None:
    """Refuse label images in which one palette index means two colors.

    Palettes are compared at the named indices; only if they differ there, all pixels are read.

    Raises:
        UserError: an index occurs in two files with different colors; the message names both.
    """
    palettes = {path: palette for path in paths for palette in (_palette(path),) if palette}
    first: dict[int, Color] = {}
    differ = any(
        first.setdefault(index, palette[index]) != palette[index]
        for palette in palettes.values()
        for index in named
        if index < len(palette)
    )
    if not differ:
        return
    seen: dict[int, tuple[Color, Path]] = {}
    for path, palette in palettes.items():
        for index in np.unique(read_label_image(path).values).tolist():
            color, other = seen.setdefault(index, (palette[index], path))
            if color != palette[index]:
                raise UserError(
                    f"{path}: palette index {index} is the color {_hex(palette[index])}, but {_hex(color)} in {other}; "
                    "save all label images with one palette, or as grayscale"
                )


def _palette(path: Path) -> list[Color]:
    if not path.name.lower().endswith(PILLOW_SUFFIXES):
        return []
    try:
        return palette_of(path)
    except Exception:  # damaged, which is reported when its values are read
        return []


def _hex(color: Color) -> str:
    return "#" + "".join(f"{part:02x}" for part in color)
