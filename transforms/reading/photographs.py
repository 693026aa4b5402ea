"""Read a color photograph, for data sets of street scenes such as Cityscapes."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from transforms.errors import UserError
from transforms.npy import load_npy
from transforms.reading import limits
from transforms.reading.early_end import ends_early
from transforms.reading.find_files import check_there
from transforms.reading.mammogram import Mammogram
from transforms.reading.pillow import as_shown, open_picture


def read_photograph(path: str | Path) -> Mammogram:
    """Read a PNG, JPEG, TIFF or BMP file, or the .npy of a dataset folder: uint8 (rows, columns, 3), red, green, blue.

    Raises:
        UserError: missing, damaged, or more than 8 bits per channel.
    """
    check_there(Path(path))
    try:
        if str(path).lower().endswith(".npy"):
            stored = load_npy(path)
            if stored.dtype != np.uint8 or stored.shape[2:] != (3,):
                raise UserError(f"{path}: {stored.dtype} of shape {stored.shape}; expected uint8 (rows, columns, 3)")
            limits.check_size(Path(path), stored.shape[0], stored.shape[1], 3)
            return Mammogram(pixels=np.array(stored), intensity_range=(0, 255))
        with warnings.catch_warnings(), open_picture(path) as image:
            warnings.simplefilter("ignore")
            if image.mode not in ("RGB", "RGBA", "P", "L"):
                raise UserError(f"{path}: Pillow mode {image.mode}; expected a color image of 8 bits per channel")
            if ends_early(Path(path), image, np.asarray(image), np.asarray):
                raise UserError(f"{path}: damaged: its compressed pixels end early; copy it again")
            pixels = np.ascontiguousarray(as_shown(image, np.asarray(image.convert("RGB"))))
    except UserError:
        raise
    except Exception as error:  # Pillow raises many kinds on damaged files
        raise UserError(
            f"{path}: not a readable image, or damaged ({type(error).__name__}); expected PNG, JPEG or TIFF"
        ) from None
    return Mammogram(pixels=pixels, intensity_range=(0, 255))
