"""MetaIO and NRRD files, written by hand: an interpreter that has imported ITK can crash when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def write_volume(
    path: Path,
    pixels: np.ndarray,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    axes: Sequence[Sequence[float]] = ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
) -> Path:
    """Write pixels (rows, columns) as a volume of one slice, .mha or .nrrd.

    Args:
        spacing: of columns, rows and slices, mm.
        origin: of the first pixel, mm to the left, the back and the head.
        axes: directions of columns, rows and slices, in the same coordinates.
    """
    size = f"{pixels.shape[1]} {pixels.shape[0]} 1"
    if path.suffix == ".mha":
        kind = {"uint8": "MET_UCHAR", "uint16": "MET_USHORT"}[pixels.dtype.name]
        head = (
            "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
            f"TransformMatrix = {' '.join(f'{part:g}' for axis in axes for part in axis)}\n"
            f"Offset = {' '.join(map(str, origin))}\nElementSpacing = {' '.join(map(str, spacing))}\n"
            f"DimSize = {size}\nElementType = {kind}\nElementDataFile = LOCAL\n"
        )
    else:
        vectors = (np.asarray(axes, float) * np.asarray(spacing)[:, None]).tolist()
        head = (
            f"NRRD0004\ntype: {pixels.dtype.name}\ndimension: 3\nspace: left-posterior-superior\nsizes: {size}\n"
            f"space directions: {' '.join('(' + ','.join(map(str, vector)) + ')' for vector in vectors)}\n"
            f"kinds: domain domain domain\nendian: little\nencoding: raw\n"
            f"space origin: ({','.join(map(str, origin))})\n\n"
        )
    path.write_bytes(head.encode() + np.ascontiguousarray(pixels).tobytes())
    return path
