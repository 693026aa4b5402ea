"""Attributes that a DICOM segmentation copies from its source image.

The only module of this project that reads names, identifiers and dates; they are written only to the DICOM SEG.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid

from transforms.errors import UserError
from transforms.reading.dicom import quiet, read_header
from transforms.reading.dicom_attributes import attribute

_PERSON_AND_STUDY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
)
"""Type 2 attributes of the Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1): they may be empty."""

_CARRIED = (
    "IssuerOfPatientID",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "LongitudinalTemporalInformationModified",
    "StudyDescription",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)
"""Attributes that are copied if present."""

_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_KEYWORDS = [*_PERSON_AND_STUDY, *_CARRIED, *_UIDS, "SpecificCharacterSet", "Modality", "PatientOrientation"]
_SEXES = ("M", "F", "O")


def read_source(path: Path, shape: tuple[int, int], texts: Sequence[str] = ()) -> Dataset:
    """The attributes of a source image that highdicom needs, complete and valid, without pixels.

    Absent type 2 attributes, and invalid dates, times and sexes, are empty. A missing study or series UID, as in old
    archives, is derived from the SOPInstanceUID, so that it is always the same.

    Args:
        shape: (rows, columns) of the image.
        texts: other texts to be written in its character set.

    Raises:
        UserError: the file is damaged, has no UIDs to refer to, or is of a private class. Nothing of the header is
            quoted.
    """
    header = read_header(path, list(_KEYWORDS), pixels=False)
    source = Dataset()
    with quiet():
        for keyword in ("SOPClassUID", "SOPInstanceUID"):
            uid = UID(str(attribute(header, keyword) or ""))
            if not uid.is_valid or (keyword == "SOPClassUID" and not uid.keyword):  # private classes have no keyword
                raise UserError(f"{path}: no valid {keyword} that a DICOM SEG could refer to")
            setattr(source, keyword, uid)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
            uid = UID(str(attribute(header, keyword) or ""))
            made = generate_uid(entropy_srcs=[source.SOPInstanceUID, keyword])
            setattr(source, keyword, uid if uid.is_valid else made)
        for keyword in (*_PERSON_AND_STUDY, *_CARRIED):
            value = _valid(header, keyword)
            if value is not None or keyword in _PERSON_AND_STUDY:
                setattr(source, keyword, "" if value is None else value)
        _set_character_set(source, attribute(header, "SpecificCharacterSet"), texts)
        source.PatientOrientation = _orientation(header)
    source.Modality = str(attribute(header, "Modality") or "MG")
    source.Rows, source.Columns = shape
    return source


def _valid(header: Dataset, keyword: str) -> Any:
    """The value, or None if it is absent or not allowed by the standard."""
    from pydicom import config
    from pydicom.valuerep import validate_value

    value = attribute(header, keyword)
    if value is None or (keyword == "PatientSex" and str(value) not in _SEXES):
        return None
    kind = header[keyword].VR
    try:
        for part in value if kind in ("CS", "DS") and not isinstance(value, str) else [value]:
            if kind != "PN":  # names are kept as they are: they decide whose segmentation this is
                validate_value(kind, str(part), config.RAISE)
    except (ValueError, TypeError):
        return value if kind in ("LO", "SH") else None
    return value


def _orientation(header: Dataset) -> list[str]:
    """PatientOrientation, type 2C (PS3.3 C.7.6.1.1.1); empty if it holds another value, as in CBIS-DDSM."""
    value = attribute(header, "PatientOrientation")
    parts = [] if value is None or isinstance(value, str) else [str(part) for part in value]
    return parts if len(parts) == 2 and all(re.fullmatch("[AFHLPR]{1,3}", part) for part in parts) else []


def _set_character_set(source: Dataset, stated: Any, texts: Sequence[str]) -> None:
    """Set that of the source; UTF-8 if it lacks characters, or if none is stated and any text is not ASCII."""
    own = [str(element.value) for element in source if element.VR in ("PN", "LO", "SH")]
    if stated is not None and all(_can_write(text, stated) for text in texts):
        source.SpecificCharacterSet = stated
    elif not all(text.isascii() for text in (*own, *texts)):
        source.SpecificCharacterSet = "ISO_IR 192"


def _can_write(text: str, character_set: Any) -> bool:
    from pydicom.charset import convert_encodings, default_encoding

    for encoding in convert_encodings(character_set):
        try:
            text.encode("ascii" if encoding == default_encoding else encoding)  # the default repertoire has no more
        except (UnicodeEncodeError, LookupError):
            continue
        return True
    return False
