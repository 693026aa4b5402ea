"""Files of CBIS-DDSM as downloaded from the archive: grouping by image, and recognition of masks.

    <PatientID>/<study>/<series>/1-1.dcm                 with UIDs, or with dates and descriptions as folder names

Every image and every region of interest has its own PatientID in the archive, such as Mass-Training_P_00001_LEFT_CC and
Mass-Training_P_00001_LEFT_CC_1. The folder of a region holds its mask and a crop of the image, in no reliable order:
only the files' content distinguishes them.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom import dcmread

from scripts.importers.labels.merge import Mask, size_text
from scripts.importers.writing.cases import find_images
from transforms.errors import UserError
from transforms.reading.dicom import is_dicom, read_dicom, subject_of

_ID = re.compile(r"(Mass|Calc)-(Training|Test)_P_\d{5}_(LEFT|RIGHT)_(CC|MLO)(_\d+)?")
_MOST_ASPECT = 0.005  # relative difference in aspect ratio up to which a mask is resized


def files_by_id(images: Path, out: Path) -> dict[str, list[Path]]:
    """Return DICOM files below a folder by PatientID, from the name of a folder in their path or from their header."""
    result: dict[str, list[Path]] = {}
    for path in find_images(images, [out]):
        parts = (images.name, *path.relative_to(images).parts[:-1])
        key = next((part for part in parts if _ID.fullmatch(part)), None) or _id_in_header(path)
        if key is not None:
            result.setdefault(key, []).append(path)
    return result


def _id_in_header(path: Path) -> str | None:
    try:
        patient = subject_of(path) if is_dicom(path) else None
    except (UserError, OSError):
        return None
    return patient if patient and _ID.fullmatch(patient) else None


def description(path: Path) -> str:
    """Return SeriesDescription in lower case: "full mammogram images", "roi mask images", "cropped images", or ""."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = dcmread(path, force=True, specific_tags=["SeriesDescription"], stop_before_pixels=True)
            return str(header.get("SeriesDescription") or "").lower()
    except Exception:  # pydicom raises many kinds on damaged files, which are reported when their pixels are read
        return ""


def full_image(files: Sequence[Path]) -> Path:
    """Return the image among the files of an image's folder, which usually holds one file."""
    return next((path for path in files if len(files) > 1 and "full" in description(path)), files[0])


def read_mask(region: str, files: Sequence[Path], shape: tuple[int, int]) -> Mask:
    """Read the mask of a region (rows, columns), in its own size.

    The mask is the only file with "mask" in its SeriesDescription, if its pixels have at most two values; else the file
    with at most two values, and of several the one closest to the image in size.

    Args:
        region: PatientID of the region, for messages.
        files: files of the region's folder: mask and crop.
        shape: shape of the image.

    Raises:
        UserError: none of the files is a mask.
    """
    described = [path for path in files if "mask" in description(path)]
    order = [*described, *(path for path in files if path not in described)] if len(described) == 1 else list(files)
    found, seen = [], []
    for path in order:
        pixels = read_dicom(path, "none")["pixels"]
        low, high = pixels.min(), pixels.max()
        if ((pixels == low) | (pixels == high)).all():
            found.append(pixels > 0)
            if path in described and len(described) == 1:
                break
        seen.append(f"{path.name} of {size_text(pixels.shape)} with values {low} to {high}")
    if not found:
        raise UserError(
            f"{region}: none of its files is a mask: found {'; '.join(seen)}; expected one file with two values, "
            f"of the image's size {size_text(shape)}; download {region} again"
        )
    return min(found, key=lambda mask: sum(abs(math.log(a / b)) for a, b in zip(mask.shape, shape, strict=True)))


def check_size(region: str, mask: Sequence[int], image: Sequence[int]) -> None:
    """Refuse a mask whose aspect ratio differs from that of its image: its position is unknown."""
    aspect = (mask[0] / mask[1]) / (image[0] / image[1])
    if tuple(mask) != tuple(image) and abs(aspect - 1.0) > _MOST_ASPECT:
        raise UserError(
            f"{region}: its mask is {size_text(mask)}, its image {size_text(image)} (rows x columns), of another "
            "aspect ratio, so its position is unknown; the image is left out"
        )


def resized(mask: Mask, shape: tuple[int, int]) -> Mask:
    """Resize a mask: each pixel takes the value at its center."""
    if mask.shape == shape:
        return mask
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.int64), old - 1)
        for old, new in zip(mask.shape, shape, strict=True)
    )
    return mask[rows][:, columns]
