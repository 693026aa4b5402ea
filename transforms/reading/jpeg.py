"""JPEG data of more than 8 bits and lossless JPEG data, by GDCM in a process of its own.

GDCM is the one decoder of these with a permissive licence, and damaged data can make it end its process. A process an
image costs a tenth of a second, less than a tenth of what a mammogram takes to decode.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import JPEGExtended12Bit

_PROGRAM = Path(__file__).with_name("gdcm_process.py")
_SECONDS = 300


def available() -> bool:
    """Whether GDCM is installed."""
    return find_spec("gdcm") is not None


def jpeg_size(data: bytes) -> tuple[int, int, int, int] | None:
    """(bits, rows, columns, components) of a JPEG data stream (ITU-T T.81, B.2.2), None if it does not say."""
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits, rows, columns, components = struct.unpack(">BHHB", data[at + 4 : at + 10])
            return bits, rows, columns, components
        filled = marker == 0xFF  # bytes of 0xFF may precede a marker
        at += 1 if filled else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def decode(data: bytes, syntax: str, shape: tuple[int, int], bits: tuple[int, int], signed: bool) -> NDArray[Any]:
    """Stored values (rows, columns) of one grayscale image.

    Args:
        data: a whole JPEG data stream.
        syntax: UID of its transfer syntax.
        bits: allocated (8 or 16) and stored.

    Raises:
        ValueError: the data is damaged, or of another size than it should be.
    """
    found = jpeg_size(data)
    if found is None or found[1:] != (*shape, 1) or (found[0] > 8) != (bits[0] == 16):
        raise ValueError("JPEG data of another size than the header says")
    # lossy data can exceed the bits that are used, and its own 12 bits must come through
    stored = 12 if syntax == JPEGExtended12Bit else bits[1]
    arguments = [syntax, *shape, bits[0], stored, int(signed)]
    command = [sys.executable, "-E", str(_PROGRAM), *map(str, arguments)]
    done = subprocess.run(command, input=data, capture_output=True, timeout=_SECONDS, check=False)
    kind = np.dtype(f"<{'i' if signed else 'u'}{bits[0] // 8}")
    if done.returncode or len(done.stdout) != shape[0] * shape[1] * kind.itemsize:
        raise ValueError("JPEG data that cannot be decoded")
    return np.frombuffer(done.stdout, kind).reshape(shape)
