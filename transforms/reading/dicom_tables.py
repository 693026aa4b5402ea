"""DICOM look-up tables, in the forms that devices write (PS3.3 C.11.1.1 and C.11.2.1.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from transforms.errors import UserError
from transforms.reading.dicom_attributes import attribute, numbers

_TURN = 2**16  # difference of a 16-bit number that is read with the wrong signedness


def first_item(header: Dataset, keyword: str) -> Dataset | None:
    """The first item of a sequence, or None."""
    sequence = attribute(header, keyword)
    return sequence[0] if sequence and isinstance(sequence[0], Dataset) else None


def look_up(header: Dataset, item: Dataset, values: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Values mapped by a table, and the depth in bits of the table's entries.

    pydicom's own functions are not used here: they require a depth of 8 or 16 in a modality LUT, and wrap
    around if an 8-bit table has more than 256 entries.

    Args:
        header: header of the file, which states its byte order.
        item: item of a VOI or modality LUT sequence.
        values: all possible values, from the smallest to the largest.

    Raises:
        UserError: the table is damaged. The message has no file name yet.
    """
    descriptor = numbers(item, "LUTDescriptor")
    if len(descriptor) != 3 or not 8 <= descriptor[2] <= 16:
        raise UserError("its look-up table is damaged: LUTDescriptor is not three numbers, the last from 8 to 16")
    entries, bits = int(descriptor[0]) % _TURN or _TURN, int(descriptor[2])
    table = _entries(header, item, entries, bits)
    if table.size < entries:
        raise UserError(f"its look-up table holds {table.size} of {entries} entries")
    first = _first_mapped(int(descriptor[1]), entries, values)
    return table[np.clip(values - first, 0, entries - 1)], _depth(table, bits)


def _entries(header: Dataset, item: Dataset, entries: int, bits: int) -> NDArray[np.int64]:
    """LUTData, unsigned, as bytes in the file's order (VR OW) or as numbers (US, or against the standard SS)."""
    data = attribute(item, "LUTData")
    if data is None:
        raise UserError("its look-up table is damaged: LUTData is missing")
    if not isinstance(data, bytes):
        return np.atleast_1d(np.asarray(data, dtype=np.int64))[:entries] % _TURN
    little = header.original_encoding[1] is not False
    if bits == 8 and len(data) < 2 * entries:  # two entries in a word
        words = np.frombuffer(data[: len(data) // 2 * 2], np.uint8).reshape(-1, 2)
        packed = np.frombuffer(data, np.uint8) if little else words[:, ::-1].ravel()
        return packed[:entries].astype(np.int64)
    return np.frombuffer(data[: len(data) // 2 * 2], "<u2" if little else ">u2")[:entries].astype(np.int64)


def _first_mapped(first: int, entries: int, values: NDArray[np.int64]) -> int:
    """The value mapped by the first entry: as stated, or with the other signedness if no value is in range."""
    for candidate in (first, first + _TURN, first - _TURN):
        if candidate <= values[-1] and candidate + entries > values[0]:
            return candidate
    return first


def _depth(table: NDArray[np.int64], stated: int) -> int:
    """Depth in bits of a table's entries: as stated, unless the largest entry is above it or below a quarter of it."""
    highest = int(table.max())
    if highest > 2**stated - 1 or 0 < 4 * highest < 2**stated - 1:
        return max(highest.bit_length(), 8)
    return stated
