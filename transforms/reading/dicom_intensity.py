"""Stored DICOM values to intensities in which brighter means denser.

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
from transforms.reading.dicom_tables import first_item, look_up

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
    header: Dataset, stored: NDArray[Any], bits: int, signed: bool, windowing: str, lossy: bool = True
) -> tuple[NDArray[Any], int, str]:
    """Intensities of stored values (rows, columns), the largest possible one, and how they were made.

    Args:
        lossy: whether values beyond the bits stored come from lossy compression, and are clipped. Else what is above
            those bits is no part of the value, such as an overlay (PS3.5 8.1.1), and is masked.
    """
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    index = _in_range(stored, bits, low, high, lossy)
    if low:
        index = (index.astype(np.int32) - low).astype(np.uint16)
    counts = None
    if windowing == "percentile":
        counts = np.zeros(high - low + 1, np.int64)
        for first in range(0, len(index), 256):  # in strips: bincount makes 64-bit copies
            counts += np.bincount(index[first : first + 256].ravel(), minlength=counts.size)
    table, top, done = intensity_table(header, (low, high), bits, windowing, counts)
    return table[index], top, done


def _in_range(stored: NDArray[Any], bits: int, low: int, high: int, lossy: bool) -> NDArray[Any]:
    if lossy or stored.dtype.kind not in "iu" or 8 * stored.dtype.itemsize == bits:
        return np.clip(stored, low, high)
    values = stored & np.asarray(2**bits - 1, stored.dtype)
    if low:  # the sign is the highest of the bits stored
        values = np.where(values > high, values.astype(np.int32) - 2**bits, values)
    return values


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
        windowing: "none", "voi" (VOI LUT before window, the first of several) or "percentile" (percentiles 0.5 to
            99.5 of this image).
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
    # the small shift rounds exact halves the same way in an image and in its inverted copy
    table = np.floor(np.clip(result, 0.0, 1.0) * top + 0.5 + 1e-6)
    table[padding] = 0
    return table.astype(np.uint8 if bits <= 8 else np.uint16), top, done


def _modality(header: Dataset, values: NDArray[np.int64], bits: int) -> tuple[NDArray[Any], int]:
    """Modality LUT, or rescale, or the stored values themselves (PS3.3 C.11.1)."""
    item = first_item(header, "ModalityLUTSequence")
    if item is not None:
        table, bits = look_up(header, item, values)
        return table.astype(np.float64), bits
    slope, intercept = numbers(header, "RescaleSlope"), numbers(header, "RescaleIntercept")
    if slope and not slope[0]:
        raise UserError("its RescaleSlope is 0, by which all pixels would be equal; correct the header, or remove it")
    if slope and intercept:
        return values * slope[0] + intercept[0], bits
    return values.astype(np.float64), bits


def _voi(header: Dataset, modality: NDArray[np.float64], bits: int) -> tuple[NDArray[Any] | None, int, str]:
    """VOI LUT, else window, else nothing (PS3.3 C.11.2), on a scale of 0 to 1."""
    item = first_item(header, "VOILUTSequence")
    if item is not None:
        table, bits = look_up(header, item, np.floor(modality + 0.5).astype(np.int64))
        return table / (2.0**bits - 1.0), bits, f"VOI LUT 1 of {len(header.VOILUTSequence)}"
    centres, widths = numbers(header, "WindowCenter"), numbers(header, "WindowWidth")
    if not centres or not widths:
        return None, bits, "no window"
    number = min(len(centres), len(widths))
    functions = _functions(header, number)
    smallest = [1.0 if function == "LINEAR" else 1e-9 for function in functions]
    usable = [k for k in range(number) if widths[k] >= smallest[k]]
    if not usable:
        raise UserError(
            f"its WindowWidth is {widths[0]:g}, too small for a {functions[0]} window; leave the window out with "
            "windowing none"
        )
    chosen = usable[0]
    function = functions[chosen]
    # The window is applied to a bare header: the possible output is 0 … 2^bits - 1, whatever the rescale was.
    window = Dataset()
    window.PhotometricInterpretation, window.PixelRepresentation, window.BitsStored = "MONOCHROME2", 0, bits
    window.WindowCenter, window.WindowWidth, window.VOILUTFunction = centres[chosen], widths[chosen], function
    with np.errstate(over="ignore"):
        result = apply_windowing(modality, window) / (2.0**bits - 1.0)
    return result, bits, f"window {chosen + 1} of {number} ({function})"


def _functions(header: Dataset, number: int) -> list[str]:
    """VOILUTFunction of each window: one for all, or, contrary to the standard (VM 1), one per window."""
    value = attribute(header, "VOILUTFunction") or "LINEAR"
    functions = [str(one).strip().upper() for one in ([value] if isinstance(value, str) else value)]
    wrong = [one for one in functions if one not in ("LINEAR", "LINEAR_EXACT", "SIGMOID")]
    if wrong:
        raise UserError(
            "its VOILUTFunction is none of LINEAR, LINEAR_EXACT, SIGMOID; leave the window out with windowing none"
        )
    return [*functions, *functions[-1:] * number][:number]


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
    ends = sorted(_in_sign(end, values) for end in (value[0], (limit or value)[0]))
    padding = np.asarray((values >= ends[0]) & (values <= ends[1]))
    if padding.all():
        raise UserError(
            "its PixelPaddingValue and PixelPaddingRangeLimit make all values padding, and the image black; correct "
            "the header, or remove them"
        )
    return padding


def _in_sign(value: float, values: NDArray[np.int64]) -> float:
    """A 16-bit number that was written as signed under unsigned pixels, or the reverse."""
    if value < 0 <= values[0]:
        return value + 2**16
    return value - 2**16 if value >= 2**15 and values[0] < 0 else value
