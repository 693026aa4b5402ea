"""What class names mean: coded concepts for DICOM, and which classes are lesions or make up breast density.

Codes are SNOMED CT ("SCT") as DICOM lists them in PS3.16: CID 7150 "Segmentation Property Category", CID 7151
"Segmentation Property Type" and the mammography context groups CID 6014 to 6016 and 6054; each was checked against
pydicom's copy of these tables (`pydicom.sr.codedict`). Where DICOM lists none - fibroglandular tissue, text - the
general concept stands, and the class name in the segment's label says which it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

Code = tuple[str, str]
"""SNOMED CT code and its meaning."""

TISSUE: Code = ("85756007", "Tissue")
ANATOMY: Code = ("91723000", "Anatomical Structure")
ABNORMAL: Code = ("49755003", "Morphologically Abnormal Structure")
OBJECT: Code = ("260787004", "Physical object")
BREAST: Code = ("76752008", "Breast")


@dataclass(frozen=True)
class Concept:
    """One thing that a class can be.

    Attributes:
        category, type: of the segmented property (CID 7150, CID 7151).
        role: "lesion" (measured one by one), "dense" or "fatty" (breast density), "finding" or "other".
    """

    category: Code
    type: Code
    role: str = "other"


_NEOPLASM = Concept(ABNORMAL, ("108369006", "Neoplasm"), "lesion")
_MASS = Concept(ABNORMAL, ("4147007", "Mass"), "lesion")
_CALCIFICATION = Concept(ABNORMAL, ("309587003", "Calcification of breast"), "finding")
_ASYMMETRY = Concept(ABNORMAL, ("129790003", "Asymmetric breast tissue"), "lesion")
_DISTORTION = Concept(ABNORMAL, ("129792006", "Architectural distortion of breast"), "lesion")
_SPICULATED = Concept(ABNORMAL, ("129742005", "Spiculated lesion"), "lesion")
_LESION = Concept(ABNORMAL, ("52988006", "Lesion"), "lesion")
_DENSE = Concept(TISSUE, TISSUE, "dense")
_FAT = Concept(TISSUE, ("55603005", "Fat"), "fatty")
_VESSEL = Concept(ANATOMY, ("59820001", "Blood Vessel"))
_LYMPH_NODE = Concept(ANATOMY, ("59441001", "Lymph Node"))

CONCEPTS: dict[str, Concept] = {
    "tumor": _NEOPLASM,
    "tumour": _NEOPLASM,
    "cancer": _NEOPLASM,
    "neoplasm": _NEOPLASM,
    "mass": _MASS,
    "lesion": _LESION,
    "asymmetry": _ASYMMETRY,
    "distortion": _DISTORTION,
    "architectural distortion": _DISTORTION,
    "spiculated region": _SPICULATED,
    "calcification": _CALCIFICATION,
    "fibroglandular": _DENSE,
    "fibroglandular tissue": _DENSE,
    "gland": _DENSE,
    "glandular tissue": _DENSE,
    "mammary gland": _DENSE,
    "dense tissue": _DENSE,
    "adipose": _FAT,
    "adipose tissue": _FAT,
    "fat": _FAT,
    "fatty tissue": _FAT,
    "breast": Concept(ANATOMY, BREAST),
    "pectoral muscle": Concept(ANATOMY, ("60005003", "Pectoralis major muscle")),
    "nipple": Concept(ANATOMY, ("24142002", "Nipple")),
    "skin": Concept(ANATOMY, ("39937001", "Skin")),
    "lymph node": _LYMPH_NODE,
    "axillary lymph node": Concept(ANATOMY, ("68171009", "Axillary lymph node")),
    "vessel": _VESSEL,
    "thick vessel": _VESSEL,
    "calcified vessel": _VESSEL,
    "foreign object": Concept(OBJECT, ("19227008", "Foreign body")),
    "implant": Concept(OBJECT, ("2282003", "Breast implant, type not specified")),
    "text": Concept(OBJECT, OBJECT),
}
"""By class name, as `plain` writes it."""

UNKNOWN = Concept(TISSUE, TISSUE)
"""For classes whose name is not in the table."""


def plain(name: str) -> str:
    """The name in small letters and single spaces, in the singular: "Axillary_lymph-nodes" is "axillary lymph node"."""
    words = re.sub(r"[\s_-]+", " ", name).strip().lower()
    if words == "masses":
        return "mass"
    return words[:-1] if words.endswith("s") and not words.endswith("ss") else words


def concept(name: str) -> Concept:
    """The concept of a class name."""
    return CONCEPTS.get(plain(name), UNKNOWN)
