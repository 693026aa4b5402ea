"""Headers of compressed pixel data: size and completeness.

A decoder allocates the size stated in its data, regardless of the file's header, and some fill in missing pixels.
Sources: ITU-T T.81 B.2.2 (JPEG), T.87 C.2 (JPEG-LS), T.800 A.4 and A.5, I.4 (JPEG 2000).
"""

from __future__ import annotations

import struct

from pydicom.uid import HTJ2K, UID, HTJ2KLossless, HTJ2KLosslessRPCL, JPEG2000TransferSyntaxes, RLELossless

from transforms.reading.limits import HEADER_BYTES

_JPEG2000 = (*JPEG2000TransferSyntaxes, HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL)
_MOST_TILES = 65535
_SIZ = struct.Struct(">8I H")
_TILE_PART = b"\xff\x90\x00\x0a"


def check_codestream(data: bytes, syntax: UID, shape: tuple[int, int], samples: int) -> None:
    """Refuse a frame that would be decoded to another size, or that ends early.

    Args:
        data: one frame of a compressed transfer syntax.
        shape: (rows, columns) in the file's header.
        samples: samples per pixel in the file's header.

    Raises:
        ValueError: the frame is refused; the message is a phrase with the reason.
    """
    if syntax == RLELossless:
        return  # its data state no size, and its decoder checks the length
    two_thousand = syntax in _JPEG2000
    size = jpeg2000_size(data) if two_thousand else jpeg_size(data)
    if size is None:
        raise ValueError("no size in the compressed data")
    if size[1:] != (*shape, samples):
        raise ValueError(f"the compressed data hold {size[1]} x {size[2]} x {size[3]} values")
    if not (_jpeg2000_is_whole(data) if two_thousand else _ends(data)):
        raise ValueError("the compressed data end early")


def _ends(data: bytes) -> bool:
    """Whether the end is marked; frames are padded to an even length, by some encoders with 0xFF."""
    return data.rstrip(b"\0\xff").endswith(b"\xff\xd9")


def jpeg_size(data: bytes) -> tuple[int, int, int, int] | None:
    """(bits, rows, columns, components) of JPEG or JPEG-LS data; None if not stated within `HEADER_BYTES`."""
    at = 2
    while at + 10 <= len(data) and at <= HEADER_BYTES and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            bits, rows, columns, components = struct.unpack(">BHHB", data[at + 4 : at + 10])
            return bits, rows, columns, components
        filled = marker == 0xFF  # bytes of 0xFF may precede a marker
        at += 1 if filled else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def jpeg2000_size(data: bytes) -> tuple[int, int, int, int] | None:
    """(bits of the first component, rows, columns, components) of a JPEG 2000 codestream, also within a JP2 file."""
    start = _codestream(data)
    if start is None or len(data) < start + 43 or data[start + 2 : start + 4] != b"\xff\x51":
        return None
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, components = _SIZ.unpack_from(
        data, start + 8
    )
    if not tile_width or not tile_height:
        return None
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    if not 0 < tiles <= _MOST_TILES:
        return None
    return (data[start + 42] & 0x7F) + 1, bottom - top, right - left, components


def _codestream(data: bytes) -> int | None:
    """Position at which the codestream begins: at 0, or in a box of a JP2 file; None if not found."""
    if data.startswith(b"\xff\x4f"):
        return 0
    at = 0
    while at + 16 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        head = 16 if length == 1 else 8
        if kind == b"jp2c":
            return at + head
        length = int.from_bytes(data[at + 8 : at + 16], "big") if length == 1 else length
        if length < head:
            return None
        at += length
    return None


def _jpeg2000_is_whole(data: bytes) -> bool:
    """Whether all tile-parts have their stated length; missing parts would be decoded as blurred or black."""
    at = data.find(_TILE_PART, _codestream(data) or 0)
    if at < 0:
        return False
    while data[at : at + 4] == _TILE_PART:
        length = int.from_bytes(data[at + 6 : at + 10], "big")
        if length == 0:  # up to the end of the codestream
            return _ends(data)
        if length < 14 or at + length > len(data):
            return False
        at += length
    return True
