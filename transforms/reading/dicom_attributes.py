"""The DICOM attributes of a mammogram that are kept: side, view, spacing, burned-in text, groups.

Only values from closed lists or numbers leave this file, so that no name, identifier or date can pass.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from transforms.errors import UserError
from transforms.image_attributes import VIEWS, age_band, manufacturer

IMPLAUSIBLE = "implausible"
"""Prefix of the source of a spacing that was not used."""
_SMALLEST_MM, _LARGEST_MM = 0.005, 2.0  # film is scanned at 0.02, thumbnails of 256 rows have 1 mm

# PS3.16 CID 4014, as SNOMED CT and as the older SRT/SNM3 codes of the same concepts
VIEW_CODES = {
    "399162004": "CC",
    "R-10242": "CC",
    "399368009": "MLO",
    "R-10226": "MLO",
    "399260004": "ML",
    "R-10224": "ML",
    "399352003": "LM",
    "R-10228": "LM",
    "399099002": "LMO",
    "R-10230": "LMO",
    "399192008": "XCCL",
    "R-1024A": "XCCL",
    "399101009": "XCCM",
    "R-1024B": "XCCM",
    "399196006": "FB",
    "R-10244": "FB",
    "399188001": "SIO",
    "R-102D0": "SIO",
    "441555000": "ISO",
}

ATTRIBUTES = (
    "ImageLaterality",
    "Laterality",
    "FrameLaterality",
    "ViewPosition",
    "ViewCodeSequence",
    "PatientOrientation",
    "PixelSpacing",
    "PixelSpacingCalibrationType",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "EstimatedRadiographicMagnificationFactor",
    "DistanceSourceToDetector",
    "DistanceSourceToPatient",
    "BurnedInAnnotation",
    "SOPClassUID",
    "Modality",
    "Manufacturer",
    "PresentationIntentType",
    "DetectorType",
    "ConversionType",
    "PatientAge",
)

_DIGITAL = ("1.2.840.10008.5.1.4.1.1.1.2", "1.2.840.10008.5.1.4.1.1.1.2.1")  # mammography
_COMPUTED = "1.2.840.10008.5.1.4.1.1.1"

_SIDE_IN_NAME = re.compile(r"(?<![A-Za-z])(LEFT|RIGHT|L|R)(?![A-Za-z])", re.IGNORECASE)
_VIEW_IN_NAME = re.compile(rf"(?<![A-Za-z])({'|'.join(VIEWS)})(?![A-Za-z])", re.IGNORECASE)


def attribute(header: Dataset, keyword: str) -> Any:
    """Value of one attribute, or None when it is absent, empty or unreadable (damaged headers are common)."""
    try:
        value = header.get(keyword)
    except Exception:  # pydicom converts values on access, and a damaged file may hold any bytes
        return None
    return None if value is None or value == "" else value


def numbers(header: Dataset, keyword: str) -> list[float]:
    """The attribute as a list of numbers; empty when it is absent or holds anything else."""
    value = attribute(header, keyword)
    if value is None:
        return []
    try:
        found = [float(item) for item in ([value] if isinstance(value, str | int | float) else value)]
    except (TypeError, ValueError):
        return []
    return found if all(abs(item) < 1e12 for item in found) else []


def damaged(path: Path, why: str) -> UserError:
    """The error for a damaged file."""
    return UserError(f"{path}: damaged DICOM file: {why}; copy it again from the archive, or remove it")


def whole(path: Path, header: Dataset, keyword: str, default: int | None = None) -> int:
    """The attribute as a whole number of at least 0; `default` if it is absent.

    Raises:
        UserError: it is absent without a default, or holds something else.
    """
    values = numbers(header, keyword)
    if len(values) == 1 and values[0] >= 0:
        return int(values[0])
    if default is None or attribute(header, keyword) is not None:
        raise damaged(path, f"{keyword} is missing or not a number")
    return default


def _text(header: Dataset, keyword: str) -> str:
    return str(attribute(header, keyword) or "").strip().upper()


def laterality(header: Dataset) -> str | None:
    """Imaged breast, "L" or "R": ImageLaterality, else Laterality, else FrameLaterality (PS3.3 C.8.11.7)."""
    for keyword in ("ImageLaterality", "Laterality", "FrameLaterality"):
        side = _text(header, keyword)
        if side in ("L", "R"):
            return side
    return None


def view(header: Dataset) -> str | None:
    """View such as "CC" or "MLO": ViewCodeSequence, else ViewPosition, else PatientOrientation.

    The code sequence replaces ViewPosition where both are present (PS3.3 C.8.11.7). PatientOrientation holds
    the view in CBIS-DDSM, against the standard.
    """
    codes = attribute(header, "ViewCodeSequence") or []
    try:
        names = [VIEW_CODES.get(str(attribute(item, "CodeValue"))) for item in codes]
    except (AttributeError, TypeError):
        names = []
    names += [_text(header, "ViewPosition"), _text(header, "PatientOrientation")]
    return next((name for name in names if name in VIEWS), None)


def _magnification(header: Dataset) -> float:
    """How many times larger the shadow on the detector is than the breast; 1.0 when unknown."""
    factor = [f for f in numbers(header, "EstimatedRadiographicMagnificationFactor") if 1.0 <= f <= 10.0]
    if not factor:  # or 0, which some devices write for an unknown factor
        detector = numbers(header, "DistanceSourceToDetector")
        patient = numbers(header, "DistanceSourceToPatient")
        factor = [detector[0] / patient[0]] if detector and patient and patient[0] > 0 else []
    return factor[0] if factor and 1.0 <= factor[0] <= 10.0 else 1.0


def spacing(header: Dataset) -> tuple[tuple[float, float] | None, str]:
    """((row, column) spacing in mm, where it comes from), or (None, "none"), or (None, "implausible …").

    A PixelSpacing that is calibrated or differs from ImagerPixelSpacing refers to the patient and is used
    unchanged. ImagerPixelSpacing is measured at the detector and is divided by the magnification, if known. Values that
    are implausible for a mammogram, such as 70 (micrometers) or a placeholder of 1, are skipped.
    """
    found = {name: _pair(header, name) for name in ATTRIBUTES if name.endswith("PixelSpacing")}
    pixel, imager = found["PixelSpacing"], found["ImagerPixelSpacing"]
    if pixel and (imager is None or pixel != imager or attribute(header, "PixelSpacingCalibrationType")):
        return pixel, "PixelSpacing"
    if imager:
        factor = _magnification(header)
        if factor == 1.0:
            return imager, "ImagerPixelSpacing"
        return (imager[0] / factor, imager[1] / factor), "ImagerPixelSpacing/magnification"
    if found["NominalScannedPixelSpacing"]:
        return found["NominalScannedPixelSpacing"], "NominalScannedPixelSpacing"
    wrong = [f"{name} {pair[0]:g} x {pair[1]:g} mm" for name in found for pair in (_stated(header, name),) if pair]
    return None, f"{IMPLAUSIBLE} {wrong[0]}" if wrong else "none"


def _pair(header: Dataset, keyword: str) -> tuple[float, float] | None:
    pair = _stated(header, keyword)
    return pair if pair and plausible_spacing(*pair) else None


def _stated(header: Dataset, keyword: str) -> tuple[float, float] | None:
    values = numbers(header, keyword)
    return (values[0], values[1]) if len(values) == 2 and min(values) > 0 else None


def plausible_spacing(row: float, column: float) -> bool:
    """Whether pixels of this size (mm) are plausible for a mammogram; exactly 1 is a common placeholder."""
    return (row, column) != (1.0, 1.0) and all(_SMALLEST_MM <= size <= _LARGEST_MM for size in (row, column))


def processing(header: Dataset) -> bool | None:
    """Value of PresentationIntentType: True for FOR PROCESSING, False for FOR PRESENTATION, None if not stated."""
    return {"FOR PROCESSING": True, "FOR PRESENTATION": False}.get(_text(header, "PresentationIntentType"))


def grouped_by(header: Dataset) -> dict[str, str]:
    """Attributes by which images can be grouped, if stated: manufacturer, acquisition, presentation, age (a band)."""
    intent = processing(header)
    years = re.fullmatch(r"(\d{3})Y", _text(header, "PatientAge"))
    found = {
        "manufacturer": manufacturer(_text(header, "Manufacturer")),
        "acquisition": _acquisition(header),
        "presentation": {True: "processing", False: "presentation"}.get(intent) if intent is not None else None,
        "age": age_band(int(years[1])) if years and int(years[1]) else None,
    }
    return {name: text for name, text in found.items() if text}


def _acquisition(header: Dataset) -> str | None:
    """Film or digital: DetectorType (PS3.3 C.8.11.4), ConversionType (C.8.6.1), else the kind of object."""
    if _text(header, "ConversionType") == "DF" or _text(header, "DetectorType") == "FILM":
        return "film"
    kind = _text(header, "SOPClassUID")
    if _text(header, "DetectorType") == "STORAGE" or kind == _COMPUTED or _text(header, "Modality") == "CR":
        return "computed radiography"
    return "digital" if kind in _DIGITAL else None


def burned_in(header: Dataset) -> bool | None:
    """Value of BurnedInAnnotation: True for YES, False for NO, None if not stated."""
    return {"YES": True, "NO": False}.get(_text(header, "BurnedInAnnotation"))


def side_and_view_of_name(name: str) -> tuple[str | None, str | None]:
    """Side and view as written in a file name: "A_0002_1.RIGHT_MLO" is ("R", "MLO")."""
    sides = {found[0].upper() for found in _SIDE_IN_NAME.findall(name)}
    views = {found.upper() for found in _VIEW_IN_NAME.findall(name)}
    return (sides.pop() if len(sides) == 1 else None, views.pop() if len(views) == 1 else None)


def without_side_and_view(name: str) -> str:
    """The name without its side and view words, and thus the same for all images of one subject.

    "p001_L_CC" is "p001"; "A_0002_1.RIGHT_MLO" is "A_0002_1"; a name without a view keeps its side word.
    """
    if not _VIEW_IN_NAME.search(name) or not _SIDE_IN_NAME.search(name):
        return name
    shorter = _SIDE_IN_NAME.sub("", _VIEW_IN_NAME.sub("", name))
    return re.sub(r"([_.\- ])[_.\- ]+", r"\1", shorter).strip("_.- ")
