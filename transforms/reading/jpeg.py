"""Lossless JPEG and JPEG of more than 8 bits, decoded by GDCM: the only such decoder with a permissive license."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import JPEGExtended12Bit

from transforms.reading.codestreams import jpeg_size
from transforms.reading.decoder import DecodingError, decode


def decode_jpeg(data: bytes, syntax: str, shape: tuple[int, int], bits: tuple[int, int], signed: bool) -> NDArray[Any]:
    """Stored values (rows, columns) of one grayscale image.

    Args:
        data: a complete JPEG data stream.
        syntax: UID of its transfer syntax.
        bits: bits allocated (8 or 16) and stored.

    Raises:
        ValueError: the data are damaged, or of another size than expected.
    """
    found = jpeg_size(data)
    if found is None or found[1:] != (*shape, 1) or (found[0] > 8) != (bits[0] == 16):
        raise ValueError("JPEG data of another size than the header states")
    # lossy data can exceed the bits stored, and all 12 bits of the codec must be kept
    stored = 12 if syntax == JPEGExtended12Bit else bits[1]
    request = {"job": "gdcm", "syntax": syntax, "rows": shape[0], "columns": shape[1]}
    _, pixels = decode({**request, "allocated": bits[0], "stored": stored, "signed": int(signed)}, data)
    kind = np.dtype(f"<{'i' if signed else 'u'}{bits[0] // 8}")
    if len(pixels) != shape[0] * shape[1] * kind.itemsize:
        raise DecodingError("JPEG data that cannot be decoded")
    return np.frombuffer(pixels, kind).reshape(shape)
