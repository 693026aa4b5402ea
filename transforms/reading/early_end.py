"""Compressed pixels that end early inside a file that is otherwise whole: decoders fill in the rest without a word.

What is filled in is constant, so that only images which end in a constant area are looked at.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.reading.limits import inflated_size

_END = b"\xff\xd9"
_MORE = bytes((37 * k + 11) % 251 for k in range(256))  # anything that looks like compressed data; no 0xFF
_PERIOD, _TAIL = 16, 2**20
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))


def jpeg_ends_early(data: bytes, pixels: NDArray[Any], decode: Callable[[bytes], NDArray[Any]]) -> bool:
    """Whether JPEG data hold fewer pixels than they state.

    More data are put before the end and decoded: a decoder that has all its pixels does not read them.

    Args:
        data: JPEG of any process, from its start to its end, or beyond.
        pixels: what `decode` makes of them, (rows, columns) or (rows, columns, channels).
    """
    end, scan = data.rfind(_END), data.rfind(b"\xff\xda")
    if end < scan:
        return True
    progressive = b"\xff\xc2" in data[:scan]
    if not progressive and not _suspicious(data[scan:end], pixels):
        return False
    try:
        return not np.array_equal(decode(data[:end] + _MORE + data[end:]), pixels)
    except Exception:  # the decoder read on, and could not
        return True


def _suspicious(scan: bytes, pixels: NDArray[Any]) -> bool:
    """Whether the image ends in a constant area that the data, which would be periodic, are too short for."""
    same = 0
    for first in range(len(pixels) - 64, -64, -64):
        rows = (pixels[max(first, 0) : first + 64] == pixels[-1, -1]).reshape(min(64, first + 64), -1).all(axis=1)
        same += int(np.argmin(rows[::-1])) if not rows.all() else len(rows)
        if not rows.all():
            break
    if not same:
        return False
    bits = same * pixels.shape[1] / 32  # the least that any process takes: two in a block of 64 pixels
    tail = np.frombuffer(scan[-_TAIL - 8 : -8], np.uint8)  # less the last, which are filled up
    periodic = max(_equal_from_end(tail, period) for period in range(1, _PERIOD + 1))
    return 8 * periodic < min(bits, 8 * (tail.size - _PERIOD)) - 64


def _equal_from_end(tail: NDArray[np.uint8], period: int) -> int:
    """How many bytes at the end repeat those before."""
    equal = (tail[period:] == tail[:-period])[::-1]
    return len(equal) if equal.all() else int(np.argmin(equal))


def png_ends_early(path: Path, pixels: NDArray[Any]) -> bool:
    """Whether a PNG file unpacks to fewer bytes than its rows need (W3C PNG, 10.1 and 8); Pillow leaves them 0."""
    if pixels[-1].any():
        return False
    content = path.read_bytes()
    at, packed, head = 8, [], b""
    while at + 12 <= len(content):
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        if kind == b"IHDR":
            head = content[at + 8 : at + 21]
        elif kind == b"IDAT":
            packed.append(content[at + 8 : at + 8 + length])
        at += 12 + length
    columns, rows = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:8], "big")
    bits = head[8] * _PNG_CHANNELS[head[9]]
    passes = _ADAM7 if head[12] else ((0, 1, 0, 1),)
    needed = 0
    for top, down, left, right in passes:
        height, width = -(-(rows - top) // down), -(-(columns - left) // right)
        needed += height * (1 + -(-width * bits // 8)) if width > 0 and height > 0 else 0
    return inflated_size(b"".join(packed), needed, zlib.MAX_WBITS) < needed
