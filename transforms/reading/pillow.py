"""Opening of pictures with Pillow, restricted to the supported formats.

Pillow detects formats by the content. Without a list of formats it would pass PostScript in a file named a.png to
Ghostscript, which executes it.
"""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from transforms.errors import UserError
from transforms.reading import limits

FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_TILE_WIDTH, _TILE_LENGTH = 322, 323
"""TIFF 6.0, section 15."""
_ORIENTATION = 0x0112
_START_OF_SCAN = b"\xff\xda"
"""ITU-T T.81, B.2.3; in compressed data 0xFF is always followed by zero or a restart marker."""


def open_picture(path: str | Path) -> Any:
    """Open a `PIL.Image.Image` by reading its header only; use it in a `with` statement.

    Raises:
        UserError: several pages or frames, or more pixels than `limits` allow.
        Exception: of many kinds, if the file has none of the formats.
    """
    from PIL import Image

    path = Path(path)
    _check_segments(path)
    image = _open(Image, path)
    if image.format == "TIFF":
        image.filename = ""  # else Pillow 13 maps uncompressed files into memory, and scrambles those stored sideways
    try:
        _check(path, image)
    except BaseException:
        image.close()
        raise
    return image


def open_data(data: bytes) -> Any:
    """As `open_picture`, for the content of a file that was checked before."""
    from PIL import Image

    return _open(Image, BytesIO(data))


def as_shown(image: Any, values: NDArray[Any]) -> NDArray[Any]:
    """Values (rows, columns[, channels]) oriented as viewers show the picture: by its Exif orientation.

    Pillow itself orients TIFF. Source: CIPA DC-008 (Exif), Orientation.
    """
    orientation = 1 if image.format == "TIFF" else image.getexif().get(_ORIENTATION, 1)
    if orientation in (5, 6, 7, 8):  # row 0 is a side
        values = values.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return values[::rows, ::columns]


def _open(pillow: Any, path: Path | BytesIO) -> Any:
    """Open a picture without Pillow's own size limit, which differs from `limits`."""
    usual = pillow.MAX_IMAGE_PIXELS
    pillow.MAX_IMAGE_PIXELS = None
    try:
        return pillow.open(path, formats=FORMATS)
    finally:
        pillow.MAX_IMAGE_PIXELS = usual


def _check_segments(path: Path) -> None:
    """Refuse a JPEG file with more than `limits.HEADER_BYTES` before its pixels: Pillow joins segments repeatedly.

    Raises:
        UserError: it is such a file.
    """
    with path.open("rb") as file:
        marker = file.read(2)
        if marker != b"\xff\xd8":
            return
        while file.tell() <= limits.HEADER_BYTES:
            marker = file.read(2)
            if len(marker) < 2 or marker == _START_OF_SCAN or marker[0] != 0xFF:
                return
            file.seek(-1 if marker[1] == 0xFF else max(0, int.from_bytes(file.read(2), "big") - 2), os.SEEK_CUR)
    raise UserError(f"{path}: more than {limits.HEADER_BYTES >> 20} MB before the pixels of a JPEG; save it again")


def _check(path: Path, image: Any) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise UserError(f"{path}: {frames} pages or frames in one file; expected a single image")
    width = {"1": 1, "L": 1, "P": 1}.get(image.mode, 2 if image.mode.startswith("I;16") else 4)
    limits.check_size(path, image.height, image.width, width)
    if image.format == "TIFF":
        tile = [image.tag_v2.get(tag) for tag in (_TILE_LENGTH, _TILE_WIDTH)]
        if all(isinstance(side, int) for side in tile):
            limits.check_size(path, tile[0], tile[1], width)
    if image.format == "JPEG":
        scans = path.read_bytes().count(_START_OF_SCAN)
        if scans > limits.JPEG_SCANS:
            raise UserError(f"{path}: JPEG of {scans} scans; expected at most {limits.JPEG_SCANS}; save it again")
