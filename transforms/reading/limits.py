"""Limits of one image or annotation file, checked on headers before anything is allocated.

Small files can claim to be large: a header of 100,000 x 100,000 pixels, or gigabytes of zeros in a few kilobytes of
compressed data. All limits of reading are here; docs/data.md lists them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from transforms.errors import UserError

MEGAPIXELS = 100.0
"""Size of an image; the largest mammograms have about 30."""
MEMORY_GB = 2.0
COPIES = 3
"""Copies of the decoded pixels in memory at once during reading: as decoded, as intensities, and intermediate."""
OBLONG = 20
"""Ratio of the longer side to the shorter; at a fixed height, a strip would become huge."""
SECONDS = 60
"""Time for a decoder to process one image."""
JPEG_SCANS = 100
"""Scans of the image in one progressive JPEG file; encoders make about ten."""
HEADER_BYTES = 2**24
"""Bytes before the pixels of a NIfTI or JPEG file."""
TEXT_HEADER_BYTES = 2**18
DIMENSIONS = 4
"""Dimensions of MetaIO and NRRD; all but two must have size 1."""
ANNOTATION_BYTES = 2**26
"""Size of one unpacked annotation file; as Python objects it takes 25 times as much memory."""
CROSSINGS = 50_000_000
"""Rows that all outlines of one file may cross, summed over their edges; an outline of 100,000 pixels has as many."""
DRAWN = 500_000_000
"""Pixels in the bounding boxes of all ellipses of one image."""
RUN_PIXELS = 4_000_000_000
"""Pixels in the columns that all run-length encoded masks of one image occupy."""
COLLECTION_BYTES = 2**27
"""Size of one unpacked file with the annotations of many images."""
TABLE_ROWS, TABLE_COLUMNS = 100_000, 200
"""Size of a workbook; a file of a few bytes may state more."""
_CHUNK = 2**20


@dataclass(frozen=True)
class Limits:
    """Limits that the user can set.

    Attributes:
        megapixels: size of one image in millions of pixels.
        memory_gb: memory in GiB that reading one image may take.

    Raises:
        UserError: a limit that is not positive.
    """

    megapixels: float = MEGAPIXELS
    memory_gb: float = MEMORY_GB

    def __post_init__(self) -> None:
        for option, value in (("--max_megapixels", self.megapixels), ("--max_memory_gb", self.memory_gb)):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and 0 < value < float("inf")):
                raise UserError(f"{option} is {value}; expected a positive number")

    @property
    def decoded_bytes(self) -> int:
        """Maximum size of one decoded image in bytes."""
        return int(self.memory_gb * 2**30 / COPIES)


_current: ContextVar[Limits] = ContextVar("limits", default=Limits())  # noqa: B039 (it is frozen)


def current() -> Limits:
    """The limits in force."""
    return _current.get()


@contextmanager
def limited(limits: Limits) -> Iterator[None]:
    """Read under these limits."""
    token = _current.set(limits)
    try:
        yield
    finally:
        _current.reset(token)


def check_size(path: Path, rows: int, columns: int, bytes_per_pixel: float = 2) -> None:
    """Refuse an image by the size in its header.

    Raises:
        UserError: no pixels, or more pixels or bytes than the limits allow.
    """
    pixels, limits = rows * columns, current()
    if rows < 1 or columns < 1:
        raise UserError(f"{path}: {rows} x {columns} pixels; expected a mammogram")
    if pixels > limits.megapixels * 1e6:
        raise UserError(
            f"{path}: {rows} x {columns} pixels, {pixels / 1e6:.0f} megapixels; expected at most "
            f"{limits.megapixels:g}; if the size is correct, raise --max_megapixels"
        )
    check_bytes(path, pixels * bytes_per_pixel)


def check_bytes(path: Path, decoded: float) -> None:
    """Refuse an image by the bytes that its decoded pixels take.

    Raises:
        UserError: more than the memory limit.
    """
    limits = current()
    if decoded > limits.decoded_bytes:
        raise UserError(
            f"{path}: reading it needs about {COPIES * decoded / 2**30:.1f} GB; expected at most "
            f"{limits.memory_gb:g}; if the size is correct, raise --max_memory_gb"
        )


def check_oblong(path: object, rows: int, columns: int) -> None:
    """Refuse an extremely oblong image.

    Raises:
        UserError: one side is more than `OBLONG` times the other.
    """
    if max(rows, columns) > OBLONG * min(rows, columns):
        raise UserError(
            f"{path}: {rows} x {columns} pixels; expected a mammogram, neither side {OBLONG} times the other"
        )


def inflated_size(data: bytes, most: int, window: int = -zlib.MAX_WBITS) -> int:
    """Number of bytes that a zlib stream unpacks to, without storing them; counting stops above `most`."""
    unpacker, size = zlib.decompressobj(window), 0
    while not unpacker.eof and size <= most:
        part = unpacker.decompress(data, _CHUNK)
        data = unpacker.unconsumed_tail
        size += len(part)
        if not part and not data:
            break
    return size
