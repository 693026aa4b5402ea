"""Reader of DICOM SEG of any tool as a label map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.errors import UserError
from transforms.reading.dicom import is_dicom, quiet

SEGMENTATION_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation and Label Map Segmentation Storage, PS3.4 B.5."""


def is_segmentation(path: Path) -> bool:
    """Whether a file is DICOM SEG."""
    if not path.name.lower().endswith(".dcm") or not is_dicom(path):
        return False
    import pydicom

    with quiet():
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=["SOPClassUID"])
    return str(header.get("SOPClassUID", "")) in SEGMENTATION_CLASSES


def read_segmentation(path: Path, class_names: Sequence[str]) -> NDArray[np.uint8]:
    """Return class numbers (rows, columns) of a SEG of one image.

    The class of a segment is that named like its label, else that of its number.

    Raises:
        UserError: the file cannot be read, is of several images, or has unknown or overlapping segments.
    """
    import pydicom

    try:
        with quiet():
            file = pydicom.dcmread(path)
            pixels = file.pixel_array
            frames = pixels if pixels.ndim == 3 else pixels[None]
            classes = {int(s.SegmentNumber): _class(path, s, class_names) for s in file.SegmentSequence}
            numbers = _frame_segments(file)
    except UserError:
        raise
    except Exception as error:  # messages of pydicom quote headers
        raise UserError(f"{path}: cannot be read as DICOM SEG ({type(error).__name__}); write it again") from None
    if file.get("SegmentationType") == "LABELMAP":
        return _of_label_map(path, frames, classes)
    if len(set(numbers)) < len(numbers):
        raise UserError(f"{path}: several frames of one segment; expected the SEG of a single image")
    out = np.zeros(frames.shape[1:], np.uint8)
    full = float(file.get("MaximumFractionalValue", 1)) if file.get("SegmentationType") == "FRACTIONAL" else 1.0
    for number, frame in zip(numbers, frames, strict=True):
        mask = frame >= 0.5 * full
        if (out[mask] != 0).any():
            raise UserError(f"{path}: segments overlap; expected one class per pixel")
        out[mask] = classes[number]
    return out


def _of_label_map(path: Path, frames: NDArray[Any], classes: dict[int, int]) -> NDArray[np.uint8]:
    if len(frames) > 1:
        raise UserError(f"{path}: {len(frames)} frames; expected the SEG of a single image")
    table = np.zeros(int(frames.max()) + 1, np.uint8)
    for number, label in classes.items():
        table[number : number + 1] = label
    values: NDArray[np.uint8] = table[frames[0]]
    return values


def _class(path: Path, segment: Any, class_names: Sequence[str]) -> int:
    names = [name.casefold() for name in class_names]
    label, number = str(segment.get("SegmentLabel", "")).casefold(), int(segment.SegmentNumber)
    if label in names:
        return names.index(label)
    if number < len(names):
        return number
    raise UserError(
        f"{path}: segment {number} has neither the name nor the number of a class; expected segments labeled "
        f"{', '.join(class_names[1:])}"
    )


def _frame_segments(file: Any) -> list[int]:
    """Return the segment number of each frame."""
    shared = file.SharedFunctionalGroupsSequence[0]
    if "SegmentIdentificationSequence" in shared:
        frames = [shared] * int(file.get("NumberOfFrames", 1))
    else:
        frames = list(file.get("PerFrameFunctionalGroupsSequence", []))
    return [
        int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        for frame in frames
        if "SegmentIdentificationSequence" in frame
    ]
