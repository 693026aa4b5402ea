"""Detection of compressed pixels that end early in an otherwise complete file: decoders fill the rest silently.

Decoders fill with a constant, so that only images that end in a constant area are checked; of TIFF, all strips. Other
images are not checked: files of some encoders end a few bits early although they are complete.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.reading.limits import current, inflated_size
from transforms.reading.pillow import open_data

_END = b"\xff\xd9"
_MORE = bytes((37 * k + 11) % 251 for k in range(256))  # arbitrary bytes like compressed data, without 0xFF
_PERIOD, _TAIL = 16, 2**20
_BLOCK, _MIDDLE = 8, (128, 2048)
"""ITU-T T.81, A.1.3 and A.3.1: a missing block has the middle value of 8 or 12 bits."""
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_STRIPS, _TILES, _PACKING, _JPEG_TABLES = (273, 279), (324, 325), 259, 347
_DEFLATE, _JPEG = (8, 32946), 7
"""TIFF 6.0, sections 3, 8 and 15, and Technical Note 2; both numbers of deflate are in use."""
_ADAM7 = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))


def ends_early(path: Path, image: Any, values: NDArray[Any], decode: Callable[[Any], NDArray[Any]]) -> bool:
    """Whether a picture file holds fewer pixels than it states.

    Args:
        image: the opened picture, decoded.
        values: its pixels as returned by `decode`.
        decode: function from an opened picture to its pixels.
    """
    if image.format == "PNG":
        return png_ends_early(path, values)
    if image.format == "JPEG":
        return jpeg_ends_early(path.read_bytes(), values, lambda data: decode(open_data(data)))
    return image.format == "TIFF" and tiff_ends_early(path, image.tag_v2)


def tiff_ends_early(path: Path, tags: Any) -> bool:
    """Whether a strip or tile of a TIFF file ends early or is damaged: deflate by its checksum, JPEG as JPEG files.

    Truncated uncompressed, LZW and PackBits strips are refused by libtiff.

    Args:
        tags: tags of the file, by number.
    """
    packing = tags.get(_PACKING)
    if packing not in (*_DEFLATE, _JPEG):
        return False
    starts, sizes = next(((tags[a], tags[b]) for a, b in (_STRIPS, _TILES) if a in tags and b in tags), ((), ()))
    head = bytes(tags.get(_JPEG_TABLES, b""))[:-2]
    with path.open("rb") as file:
        for start, size in zip(starts, sizes, strict=False):
            file.seek(start)
            part = file.read(size)
            if packing in _DEFLATE and not _whole_stream(part):
                return True
            if packing == _JPEG and _jpeg_part_ends_early(head + part[2:] if head else part):
                return True
    return False


def _whole_stream(packed: bytes) -> bool:
    """Whether a zlib stream reaches its end with the right checksum."""
    unpacker, size = zlib.decompressobj(), 0
    try:
        while not unpacker.eof and size <= current().decoded_bytes:
            part = unpacker.decompress(packed, _TAIL)
            packed = unpacker.unconsumed_tail
            size += len(part)
            if not part and not packed:
                break
    except zlib.error:
        return False
    return unpacker.eof


def _jpeg_part_ends_early(data: bytes) -> bool:
    def decode(content: bytes) -> NDArray[Any]:
        return np.asarray(open_data(content))

    try:
        return _END not in data[data.rfind(b"\xff\xda") :] or jpeg_ends_early(data, decode(data), decode)
    except Exception:  # Pillow raises many kinds on damaged data
        return True


def jpeg_ends_early(data: bytes, pixels: NDArray[Any], decode: Callable[[bytes], NDArray[Any]]) -> bool:
    """Whether JPEG data hold fewer pixels than they state.

    Data are inserted before the end, and the result is decoded: a decoder that has all pixels does not read them.

    Args:
        data: JPEG of any process, from its start to its end, or beyond.
        pixels: result of `decode` for `data`, (rows, columns) or (rows, columns, channels).
    """
    end, scan = data.rfind(_END), data.rfind(b"\xff\xda")
    if end < scan:
        return True
    progressive = b"\xff\xc2" in data[:scan]
    if not (progressive or _last_block_is_gray(pixels) or _suspicious(data[scan:end], pixels)):
        return False
    try:
        return not np.array_equal(decode(data[:end] + _MORE + data[end:]), pixels)
    except Exception:  # the decoder tried to read the inserted data
        return True


def _last_block_is_gray(pixels: NDArray[Any]) -> bool:
    """Whether the last block looks as if filled by a decoder, which does so for missing blocks of a row."""
    row, column = ((side - 1) // _BLOCK * _BLOCK for side in pixels.shape[:2])
    return bool(pixels[-1, -1].flat[0] in _MIDDLE and (pixels[row:, column:] == pixels[-1, -1].flat[0]).all())


def _suspicious(scan: bytes, pixels: NDArray[Any]) -> bool:
    """Whether the image ends in a constant area for which the data, which would be periodic, are too short."""
    same = 0
    for first in range(len(pixels) - 64, -64, -64):
        rows = (pixels[max(first, 0) : first + 64] == pixels[-1, -1]).reshape(min(64, first + 64), -1).all(axis=1)
        same += int(np.argmin(rows[::-1])) if not rows.all() else len(rows)
        if not rows.all():
            break
    if not same:
        return False
    bits = same * pixels.shape[1] / 32  # minimum of any process: two bits per block of 64 pixels
    tail = np.frombuffer(scan[-_TAIL - 8 : -8], np.uint8)  # without the last bytes, which are padded
    periodic = max(_equal_from_end(tail, period) for period in range(1, _PERIOD + 1))
    return 8 * periodic < min(bits, 8 * (tail.size - _PERIOD)) - 64


def _equal_from_end(tail: NDArray[np.uint8], period: int) -> int:
    """Number of bytes at the end that repeat the bytes one period before."""
    equal = (tail[period:] == tail[:-period])[::-1]
    return len(equal) if equal.all() else int(np.argmin(equal))


def png_ends_early(path: Path, pixels: NDArray[Any]) -> bool:
    """Whether a PNG file unpacks to fewer bytes than its rows need (W3C PNG, 10.1 and 8); Pillow leaves the rest 0."""
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
