"""One mammogram of any supported format: brighter is denser, row 0 is at the top, no identifiers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydicom.dataset import Dataset

from transforms.errors import UserError
from transforms.reading.dicom import is_dicom, probe_dicom, read_dicom
from transforms.reading.dicom_attributes import side_and_view_of_name
from transforms.reading.dicom_intensity import WINDOWINGS, intensities
from transforms.reading.find_files import check_there
from transforms.reading.limits import check_oblong
from transforms.reading.pictures import probe_picture, read_picture


@dataclass(frozen=True, eq=False)
class Mammogram:
    """Pixels of a mammogram, and the few properties that are kept.

    Attributes:
        pixels: (rows, columns) uint8 or uint16; row 0 at the top, column 0 on the left; brighter is denser. An importer
            of photographs, such as Cityscapes, may give (rows, columns, 3) uint8 as red, green, blue.
        intensity_range: smallest and largest POSSIBLE value, such as (0, 4095), regardless of this image's values.
        laterality: "L" or "R", or None if stated neither by the header nor by the file name.
        view: "CC", "MLO" or another of `image_attributes.VIEWS`, or None.
        spacing_mm: (row, column) distance of pixel centers, or None.
        spacing_source: the attribute or format that stated the spacing, or "none".
        burned_in: whether text is burned into the pixels, or None if not stated.
        processing: whether the image is FOR PROCESSING, not yet processed for viewing; None if not stated.
        intensity_source: mapping from stored values to pixels, such as "window 1 of 3 (SIGMOID), inverted".
        attributes: properties by which images can be grouped, in the terms of `transforms.image_attributes`.
    """

    pixels: NDArray[Any]
    intensity_range: tuple[int, int]
    laterality: str | None = None
    view: str | None = None
    spacing_mm: tuple[float, float] | None = None
    spacing_source: str = "none"
    burned_in: bool | None = None
    intensity_source: str = "as stored"
    processing: bool | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


def probe_mammogram(path: Path) -> None:
    """Refuse a file by its header alone; pixels are not decoded.

    Raises:
        UserError: as `read_mammogram`, except for defects that only the pixels show.
    """
    (probe_dicom if _is_dicom(path) else probe_picture)(path)


def read_mammogram(path: str | Path, windowing: str = "voi", bits: int | None = None) -> Mammogram:
    """Read a DICOM file (recognized by its content), PNG, JPEG, TIFF, BMP, .npy, NIfTI, MHA or NRRD.

    Args:
        path: one image.
        windowing: for DICOM "voi" (its VOI LUT, else its first window, else nothing), "none", or "percentile"
            (the 0.5th and 99.5th percentiles of this image become black and white; for every format).
        bits: actual number of bits of the values, such as 12 in a 16-bit PNG or in DICOM with a BitsStored of 16.

    Raises:
        UserError: not a single grayscale image, damaged, or not decodable; the message names the file and the
            reason, and quotes nothing of a DICOM header but numbers.
    """
    path = Path(path)
    if windowing not in WINDOWINGS:
        raise UserError(f"windowing is {windowing!r}; expected one of {', '.join(WINDOWINGS)}")
    side, view = side_and_view_of_name(path.stem)
    if _is_dicom(path):
        fields = read_dicom(path, windowing, bits)
        fields["laterality"] = fields["laterality"] or side
        fields["view"] = fields["view"] or view
        return Mammogram(**fields)
    pixels, spacing = read_picture(path)
    check_oblong(path, pixels.shape[0], pixels.shape[1])
    bits = bits or 8 * pixels.dtype.itemsize
    if pixels.max() > 2**bits - 1:
        raise UserError(f"{path}: values up to {pixels.max()} exceed the specified {bits} bits")
    source = "as stored"
    if windowing == "percentile":
        pixels, _, source = intensities(Dataset(), pixels, bits, False, windowing)
    return Mammogram(
        pixels=pixels,
        intensity_range=(0, 2**bits - 1),
        laterality=side,
        view=view,
        spacing_mm=spacing,
        spacing_source="none" if spacing is None else "image header",
        intensity_source=source,
    )


def _is_dicom(path: Path) -> bool:
    check_there(path)
    try:
        return is_dicom(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the file's permissions") from None
