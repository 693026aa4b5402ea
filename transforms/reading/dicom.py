"""Read one DICOM mammogram: the pixels as intended for display, and no identifying attribute.

Always read by pydicom: the choice of MONAI's own reader, and thus the polarity of MONOCHROME1, depends on the installed
packages. Only the attributes listed here are parsed, so no name, identifier or date can reach the result.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from transforms.errors import UserError
from transforms.reading import dicom_attributes, dicom_intensity, dicom_pixels, limits
from transforms.reading.dicom_attributes import attribute, damaged, whole

_META_BYTES = 2**16  # file meta information has a few hundred bytes
_PIXEL_ATTRIBUTES = (
    "SamplesPerPixel",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelData",
)
_TAGS = [*_PIXEL_ATTRIBUTES, *dicom_attributes.ATTRIBUTES, *dicom_intensity.ATTRIBUTES]


def is_dicom(path: Path) -> bool:
    """Whether the content is DICOM: the "DICM" prefix, or a data set without preamble, as in old archives."""
    with path.open("rb") as file:
        head = file.read(132)
    if head[128:132] == b"DICM":
        return True
    if len(head) < 132 or head[:2] not in (b"\x08\x00", b"\x02\x00") or head[3] != 0:
        return False
    return head[4:6].isalpha() or int.from_bytes(head[4:8], "little") < 128


def may_be_dicom(path: Path) -> bool:
    """Whether a file is DICOM or cannot be opened: a broken link, or no permission."""
    try:
        return is_dicom(path)
    except OSError:
        return True


def subject_of(path: Path) -> str | None:
    """PatientID of a DICOM file, to keep a subject's images together. Never store, print or log it."""
    header = read_header(path, ["PatientID"], pixels=False)
    with quiet():
        return str(attribute(header, "PatientID") or "").strip() or None


def transfer_syntax(path: Path) -> str | None:
    """Name of a DICOM file's transfer syntax, such as "RLE Lossless"; None if it is no DICOM file or damaged."""
    try:
        if not is_dicom(path):
            return None
        return dicom_pixels.syntax_name(dicom_pixels.syntax_of(read_header(path, [], pixels=False)))
    except (OSError, UserError):
        return None


def probe_dicom(path: Path) -> None:
    """Refuse a file whose header shows that it is not a readable mammogram; pixels are not decoded.

    Raises:
        UserError: as `read_dicom`, except for damage or color, which only the pixels show.
    """
    header = read_header(path, _TAGS, pixels=False)
    with quiet():
        _check(path, header)
        dicom_pixels.check_decoder(path, header)


def read_dicom(path: Path, windowing: str = "voi", bits_used: int | None = None) -> dict[str, Any]:
    """The fields of a `Mammogram` from a DICOM file.

    Args:
        windowing: see `read_mammogram`.
        bits_used: actual number of bits, if BitsStored states more.

    Raises:
        UserError: not a single-frame grayscale image, cut short, damaged, or compressed in a way that no
            installed decoder reads. The message names the file and holds no header value of free text.
    """
    header = read_header(path, _TAGS)
    with quiet():
        if "PixelData" not in header:
            raise UserError(f"{path}: DICOM without an image, or cut short before it; remove it from the folder")
        shape, bits, signed = _check(path, header)
        stored = _pixels(path, header, shape)
        try:
            lossy = dicom_pixels.is_lossy(header)
            bits = _bits_used(stored, bits, signed, bits_used)
            pixels, top, source = dicom_intensity.intensities(header, stored, bits, signed, windowing, lossy)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        spacing, spacing_source = dicom_attributes.spacing(header)
        return {
            "pixels": pixels,
            "intensity_range": (0, top),
            "laterality": dicom_attributes.laterality(header),
            "view": dicom_attributes.view(header),
            "spacing_mm": spacing,
            "spacing_source": spacing_source,
            "burned_in": dicom_attributes.burned_in(header),
            "intensity_source": source,
            "processing": dicom_attributes.processing(header),
            "attributes": dicom_attributes.grouped_by(header),
        }


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings and log messages of pydicom and highdicom, which may quote the header."""
    logs = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def read_header(path: Path, tags: list[str], pixels: bool = True) -> FileDataset:
    """The requested attributes, by keyword, that a DICOM file has; PixelData only if `pixels`.

    Raises:
        UserError: the file cannot be read, or is damaged.
    """
    try:
        with quiet():
            _check_deflated(path)
            header = dcmread(path, force=True, specific_tags=tags, stop_before_pixels=not pixels)
            if "TransferSyntaxUID" not in header.file_meta:  # pydicom detects the encoding of a bare data set
                implicit, little = header.original_encoding
                syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
                header.file_meta.TransferSyntaxUID = syntax if little else ExplicitVRBigEndian
            return header
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the file's permissions") from None
    except Exception as error:  # a damaged file makes pydicom raise almost anything
        raise damaged(path, f"its header ends or breaks off early ({type(error).__name__})") from None


def _check_deflated(path: Path) -> None:
    """Refuse a deflated file that unpacks to more than the limits; pydicom would unpack it as a whole."""
    with path.open("rb") as file:
        if DeflatedExplicitVRLittleEndian.encode() not in file.read(_META_BYTES):
            return
        file.seek(0)
        read_preamble(file, force=True)
        meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            limits.check_bytes(path, limits.inflated_size(file.read(), limits.current().decoded_bytes))


def _check(path: Path, header: Dataset) -> tuple[tuple[int, int], int, bool]:
    """Return (rows, columns), bits stored and signedness, after refusing what is not a plain mammogram."""
    frames = whole(path, header, "NumberOfFrames", 1)
    if frames > 1:
        raise UserError(
            f"{path}: multi-frame DICOM of {frames} frames, as in tomosynthesis; only single images are read"
        )
    rows, columns = whole(path, header, "Rows"), whole(path, header, "Columns")
    if not rows * columns:
        raise damaged(path, f"{rows} rows x {columns} columns cannot be a mammogram")
    photometric = attribute(header, "PhotometricInterpretation")
    if not isinstance(photometric, str):
        raise UserError(
            f"{path}: PhotometricInterpretation is missing, so it is unknown whether small values are black or white; "
            "set it to MONOCHROME1 or MONOCHROME2, or remove the file"
        )
    header.PhotometricInterpretation = photometric.strip().upper()
    allocated, samples = whole(path, header, "BitsAllocated"), whole(path, header, "SamplesPerPixel", 1)
    if samples not in (1, 3):
        raise UserError(f"{path}: {samples} values per pixel; expected 1, a grayscale mammogram")
    limits.check_size(path, rows, columns, samples * allocated / 8)
    limits.check_oblong(path, rows, columns)
    bits = whole(path, header, "BitsStored", allocated)
    if allocated not in (8, 16) or not 1 <= bits <= allocated:
        raise UserError(f"{path}: {bits} of {allocated} bits per pixel; 8 or 16 allocated are read")
    high = whole(path, header, "HighBit", bits - 1)
    if high != bits - 1:
        raise UserError(f"{path}: HighBit {high} with {bits} bits stored; the standard requires {bits - 1}")
    return (rows, columns), bits, whole(path, header, "PixelRepresentation", 0) == 1


def _bits_used(stored: NDArray[Any], bits: int, signed: bool, used: int | None) -> int:
    if used is None or used >= bits or signed:
        return bits
    if stored.max() > 2**used - 1:
        raise UserError(f"values up to {stored.max()} exceed the specified {used} bits")
    return used


def _pixels(path: Path, header: FileDataset, shape: tuple[int, int]) -> NDArray[Any]:
    """Stored values, (rows, columns)."""
    pixels = dicom_pixels.stored_values(path, header, shape)
    if pixels.ndim == 3 and pixels.shape[2] == 3 and (pixels == pixels[:, :, :1]).all():
        pixels = pixels[:, :, 0]
    if pixels.ndim == 3 or attribute(header, "PhotometricInterpretation") == "PALETTE COLOR":
        raise UserError(f"{path}: color DICOM image; only grayscale mammograms are read")
    return pixels
