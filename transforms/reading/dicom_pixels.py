"""PixelData to stored values, for every transfer syntax that a decoder with a permissive license reads.

One decoder is chosen per syntax, so that a result does not depend on other installed packages. All decoders except
Pillow's run in a separate process, which a damaged file may crash (`transforms.reading.decoder`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSNearLossless,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

from transforms.errors import UserError
from transforms.reading.codestreams import check_codestream
from transforms.reading.decoder import DecoderEndedError, decode_array
from transforms.reading.dicom_attributes import attribute, damaged, whole
from transforms.reading.early_end import jpeg_ends_early
from transforms.reading.jpeg import decode_jpeg

_GDCM = "gdcm"
_PILLOW = "pillow"
# per syntax: pydicom's names of the decoders, of which the first installed one is used, and the packages to install
_DECODERS: tuple[tuple[tuple[UID, ...], tuple[str, ...], str], ...] = (
    ((RLELossless,), ("pylibjpeg", "pydicom"), "pydicom"),
    ((JPEGBaseline8Bit,), (_PILLOW,), "pillow"),
    ((JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1), (_GDCM,), "python-gdcm"),
    (tuple(JPEGLSTransferSyntaxes), ("pyjpegls",), "pyjpegls"),
    (tuple(JPEG2000TransferSyntaxes), ("pylibjpeg", _PILLOW), "pylibjpeg pylibjpeg-openjpeg"),
    ((HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL), ("pylibjpeg",), "pylibjpeg pylibjpeg-openjpeg"),
)
_LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K)
_FRAME_ATTRIBUTES = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PlanarConfiguration",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)


def syntax_of(header: FileDataset) -> UID:
    """The transfer syntax as a UID, even if its value is not valid."""
    return UID(str(header.file_meta.TransferSyntaxUID))


def is_lossy(header: FileDataset) -> bool:
    """Whether decoded values may differ from those that were compressed."""
    return syntax_of(header) in _LOSSY


def syntax_name(syntax: UID) -> str:
    """Name of a transfer syntax, such as "RLE Lossless"; "unknown" if not registered."""
    return syntax.name if syntax.name != str(syntax) else "unknown"


def check_decoder(path: Path, header: FileDataset) -> str | None:
    """pydicom's name of the decoder to use, None for uncompressed pixels.

    Raises:
        UserError: not an image syntax, or its decoder is not installed; names the package to install.
    """
    syntax = syntax_of(header)
    try:
        available = get_decoder(syntax).available_plugins
    except NotImplementedError:
        raise UserError(f"{path}: transfer syntax {syntax_name(syntax)} is not an image that can be read") from None
    for syntaxes, decoders, package in _DECODERS:
        if syntax in syntaxes:
            installed = [name for name in decoders if name in available]
            if installed:
                return installed[0]
            raise UserError(
                f"{path}: its {syntax_name(syntax)} pixels cannot be decoded with the installed packages; "
                f"`pip install {package}`"
            )
    return None


def stored_values(path: Path, header: FileDataset, shape: tuple[int, int]) -> NDArray[Any]:
    """Stored values (rows, columns), or (rows, columns, 3) of a color image.

    Raises:
        UserError: no decoder, pixels that are cut short or cannot be decoded, or another size than `shape`.
    """
    decoder, syntax = check_decoder(path, header), syntax_of(header)
    try:
        if decoder is None:
            _check_length(path, header, shape)
            pixels = np.asarray(header.pixel_array)
        else:
            pixels = _decoded(path, header, shape, decoder)
    except UserError:
        raise
    except Exception as error:
        why = f"its {syntax_name(syntax)} pixels cannot be decoded ({_reason(error)})"
        raise damaged(path, why) from None
    if pixels.shape[:2] != shape:
        raise damaged(path, f"the header states {shape}, the pixels are {pixels.shape}")
    return pixels


def _reason(error: Exception) -> str:
    """This project's own message, or the kind of a library's exception, whose message may quote the header."""
    if isinstance(error, DecoderEndedError):
        return "the decoder crashed or took too long"
    return str(error) if type(error) is ValueError and len(str(error)) < 80 else type(error).__name__


def _decoded(path: Path, header: FileDataset, shape: tuple[int, int], decoder: str) -> NDArray[Any]:
    """Pixels of the only frame of a compressed syntax."""
    syntax, samples = syntax_of(header), whole(path, header, "SamplesPerPixel", 1)
    allocated = whole(path, header, "BitsAllocated")
    data = get_frame(header.PixelData, 0, number_of_frames=1)
    check_codestream(data, syntax, shape, samples)
    if decoder == _GDCM and allocated == 8 and syntax == JPEGExtended12Bit:
        decoder = _PILLOW  # 8 of at most 12 bits: the same as baseline
    if decoder == _GDCM:
        if samples != 1:
            raise UserError(f"{path}: color DICOM image; only grayscale mammograms are read")
        bits = allocated, whole(path, header, "BitsStored", allocated)
        signed = whole(path, header, "PixelRepresentation", 0) == 1
        return _whole_jpeg(data, lambda stream: decode_jpeg(stream, str(syntax), shape, bits, signed))
    if decoder == _PILLOW and syntax not in JPEG2000TransferSyntaxes:
        return _whole_jpeg(data, lambda stream: _by_pillow(header, stream))
    if decoder == _PILLOW:
        return _by_pillow(header, data)
    attributes = {keyword: attribute(header, keyword) for keyword in _FRAME_ATTRIBUTES}
    known = {k: str(v) if isinstance(v, str) else int(v) for k, v in attributes.items() if v is not None}
    request = {"job": "pydicom", "syntax": str(syntax), "plugin": decoder, "attributes": known}
    return decode_array(request, data)[1]


def _whole_jpeg(data: bytes, decode: Callable[[bytes], NDArray[Any]]) -> NDArray[Any]:
    pixels = decode(data)
    if jpeg_ends_early(data, pixels, decode):
        raise ValueError("the compressed data end early")
    return pixels


def _by_pillow(header: FileDataset, data: bytes) -> NDArray[Any]:
    image = Dataset()
    image.file_meta = header.file_meta
    for keyword in _FRAME_ATTRIBUTES:
        if keyword in header:
            image[keyword] = header[keyword]
    image.PixelData = encapsulate([data])
    image.pixel_array_options(decoding_plugin=_PILLOW)
    return np.asarray(image.pixel_array)


def _check_length(path: Path, header: FileDataset, shape: tuple[int, int]) -> None:
    """Refuse uncompressed pixels that are cut short."""
    samples, size = whole(path, header, "SamplesPerPixel", 1), whole(path, header, "BitsAllocated") // 8
    want, have = shape[0] * shape[1] * samples * size, len(attribute(header, "PixelData") or b"")
    if have < want and attribute(header, "PhotometricInterpretation") != "YBR_FULL_422":
        raise damaged(path, f"cut short, {have} of {want} bytes of pixels")
