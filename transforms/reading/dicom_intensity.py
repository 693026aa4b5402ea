"""From stored DICOM values to intensities in which brighter means denser.

The chain of PS3.4 N.2 - modality LUT, VOI LUT or window, one inversion - maps each stored value on its own.
It is therefore computed once for the possible stored values, and applied to the image as a table.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_windowing

from transforms.errors import UserError
from transforms.reading.dicom_attributes import attribute, numbers

ATTRIBUTES = (
    "PhotometricInterpretation",
    "PresentationIntentType",
    "PresentationLUTShape",
    "PixelIntensityRelationshipSign",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "VOILUTFunction",
    "WindowCenter",
    "WindowWidth",
)
WINDOWINGS = ("none", "voi", "percentile")
PERCENTILES = (0.5, 99.5)


def intensities(
    header: Dataset, stored: NDArray[Any], bits: int, signed: bool, windowing: str
) -> tuple[NDArray[Any], int, str]:
    """Intensities of stored values (rows, columns), the largest possible one, and how they were made."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    index = np.clip(stored, low, high)
    if low:
        index = (index.astype(np.int32) - low).astype(np.uint16)
    counts = None
    if windowing == "percentile":
        counts = np.zeros(high - low + 1, np.int64)
        for first in range(0, len(index), 256):  # in strips: bincount makes 64-bit copies
            counts += np.bincount(index[first : first + 256].ravel(), minlength=counts.size)
    table, top, done = intensity_table(header, (low, high), bits, windowing, counts)
    return table[index], top, done


def intensity_table(
    header: Dataset,
    stored: tuple[int, int],
    bits: int,
    windowing: str,
    counts: NDArray[np.int64] | None = None,
) -> tuple[NDArray[Any], int, str]:
    """Intensity of every possible stored value, the largest possible one, and a phrase on how it was made.

    Args:
        header: the attributes named in `ATTRIBUTES`, as far as present.
        stored: smallest and largest possible stored value; entry i of the table belongs to `stored[0] + i`.
        bits: bits stored; intensities are 0 … 2^bits - 1 (or the depth of a look-up table that was applied).
        windowing: "none", "voi" (VOI LUT before window, the first of several) or "percentile" (0.5 to 99.5
            per cent of this image).
        counts: how often each possible stored value occurs, needed for "percentile".

    Raises:
        UserError: a window or table that the standard does not define. The message has no file name yet.
    """
    values = np.arange(stored[0], stored[1] + 1, dtype=np.int64)
    padding = _padding(header, values)
    modality, bits = _modality(header, values, bits)
    result: NDArray[Any] | None
    if windowing == "percentile":
        result, done = _percentile(modality, counts, padding), "percentiles 0.5 to 99.5 of the image"
    elif windowing == "voi":
        result, bits, done = _voi(header, modality, bits)
    else:
        result, done = None, "no window"
    if result is None:
        span = float(modality.max() - modality.min()) or 1.0
        result = (modality - modality.min()) / span
    if _inverted(header):
        result, done = 1.0 - result, f"{done}, inverted"
    top = 2**bits - 1
    # the small shift sends exact halves the same way in an image and in its inverted twin
    table = np.floor(np.clip(result, 0.0, 1.0) * top + 0.5 + 1e-6)
    table[padding] = 0
    return table.astype(np.uint8 if bits <= 8 else np.uint16), top, done


def _modality(header: Dataset, values: NDArray[np.int64], bits: int) -> tuple[NDArray[Any], int]:
    """Modality LUT, or rescale, or the stored values themselves (PS3.3 C.11.1)."""
    item = _first(header, "ModalityLUTSequence")
    if item is not None:
        table, bits = _look_up(item, values)
        return table.astype(np.float64), bits
    slope, intercept = numbers(header, "RescaleSlope"), numbers(header, "RescaleIntercept")
    if slope and intercept:
        return values * slope[0] + intercept[0], bits
    return values.astype(np.float64), bits


def _voi(header: Dataset, modality: NDArray[np.float64], bits: int) -> tuple[NDArray[Any] | None, int, str]:
    """VOI LUT, else window, else nothing (PS3.3 C.11.2), on a scale of 0 to 1."""
    item = _first(header, "VOILUTSequence")
    if item is not None:
        table, bits = _look_up(item, np.floor(modality + 0.5).astype(np.int64))
        return table / (2.0**bits - 1.0), bits, f"VOI LUT 1 of {len(header.VOILUTSequence)}"
    centres, widths = numbers(header, "WindowCenter"), numbers(header, "WindowWidth")
    if not centres or not widths:
        return None, bits, "no window"
    function = str(attribute(header, "VOILUTFunction") or "LINEAR").upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise UserError("its VOI LUT function is none of LINEAR, LINEAR_EXACT, SIGMOID; windowing 'none' leaves it out")
    if not widths[0] >= (1 if function == "LINEAR" else 1e-9):
        raise UserError(f"its {function} window is {widths[0]:g} wide; windowing 'none' leaves it out")
    # The window is applied to a bare header: the possible output is 0 … 2^bits - 1, whatever the rescale was.
    window = Dataset()
    window.PhotometricInterpretation, window.PixelRepresentation, window.BitsStored = "MONOCHROME2", 0, bits
    window.WindowCenter, window.WindowWidth, window.VOILUTFunction = centres[0], widths[0], function
    with np.errstate(over="ignore"):
        result = apply_windowing(modality, window) / (2.0**bits - 1.0)
    return result, bits, f"window 1 of {min(len(centres), len(widths))} ({function})"


def _percentile(
    modality: NDArray[np.float64], counts: NDArray[np.int64] | None, padding: NDArray[np.bool_]
) -> NDArray[np.float64]:
    if counts is None:
        raise TypeError("windowing 'percentile' needs the counts of the stored values")
    order = np.argsort(modality, kind="stable")
    weight = np.where(padding, 0, counts)[order].cumsum()
    low, high = (modality[order][np.searchsorted(weight, weight[-1] * share / 100.0)] for share in PERCENTILES)
    return np.clip((modality - low) / ((high - low) or 1.0), 0.0, 1.0)


def _inverted(header: Dataset) -> bool:
    """Whether larger values are darker when shown.

    PresentationLUTShape decides where present, else MONOCHROME1 does (PS3.3 C.8.11.3). FOR PROCESSING images
    have no presentation; there PixelIntensityRelationshipSign says whether more X-rays, and so less tissue,
    are larger values.
    """
    sign = numbers(header, "PixelIntensityRelationshipSign")
    if attribute(header, "PresentationIntentType") == "FOR PROCESSING" and sign in ([1.0], [-1.0]):
        return sign == [1.0]
    shape = attribute(header, "PresentationLUTShape")
    if shape in ("IDENTITY", "INVERSE"):
        return bool(shape == "INVERSE")
    return bool(attribute(header, "PhotometricInterpretation") == "MONOCHROME1")


def _padding(header: Dataset, values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Stored values that mean "no image here" (PS3.3 C.7.5.1.1.2)."""
    value, limit = numbers(header, "PixelPaddingValue"), numbers(header, "PixelPaddingRangeLimit")
    if not value:
        return np.zeros(values.shape, bool)
    ends = sorted([value[0], (limit or value)[0]])
    return np.asarray((values >= ends[0]) & (values <= ends[1]))


def _first(header: Dataset, keyword: str) -> Dataset | None:
    sequence = attribute(header, keyword)
    return sequence[0] if sequence and isinstance(sequence[0], Dataset) else None


def _look_up(item: Dataset, values: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Values through a LUT item, and its depth in bits (PS3.3 C.11.1.1).

    pydicom's own functions are not used here: they need a depth of 8 or 16 in a modality LUT, and wrap
    around where an 8-bit table has more than 256 entries.
    """
    descriptor = numbers(item, "LUTDescriptor")
    data = attribute(item, "LUTData")
    if len(descriptor) != 3 or data is None or not 8 <= descriptor[2] <= 16:
        raise UserError("its look-up table is damaged")
    entries, first, bits = int(descriptor[0]) or 2**16, int(descriptor[1]), int(descriptor[2])
    if isinstance(data, bytes):
        table = np.frombuffer(data, np.uint8 if bits == 8 and len(data) < 2 * entries else "<u2")[:entries]
    else:
        table = np.atleast_1d(np.asarray(data, dtype=np.int64))[:entries]
    if table.size < entries:
        raise UserError(f"its look-up table holds {table.size} of {entries} entries")
    if first > 2**15 and values.min() < 0:
        first -= 2**16  # read as unsigned although the values it refers to are signed
    return np.clip(table.astype(np.int64)[np.clip(values - first, 0, entries - 1)], 0, 2**bits - 1), bits
