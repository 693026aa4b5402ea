"""Meaning of class names: lesions, parts of breast density, and coded concepts for DICOM.

The one vocabulary that importers, DICOM SEG, findings and evaluation share. A name is first looked up as a whole. If it
is not in the table, its words are: "malignant mass" is a mass and "breast tumor" a tumor. A name with a negation
("non-tumor", "no mass", "tumor-free") is never one of them, and neither is one that only holds such a word inside
another ("peritumoral").

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
    "cancer": _NEOPLASM,
    "carcinoma": _NEOPLASM,
    "malignancy": _NEOPLASM,
    "neoplasm": _NEOPLASM,
    "mass": _MASS,
    "nodule": _MASS,
    "lesion": _LESION,
    "asymmetry": _ASYMMETRY,
    "distortion": _DISTORTION,
    "architectural distortion": _DISTORTION,
    "spiculated region": _SPICULATED,
    "calcification": _CALCIFICATION,
    "microcalcification": _CALCIFICATION,
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


NEGATIONS = frozenset(("non", "no", "not", "without", "free", "excluding", "except", "outside"))
_ABNORMAL_WORDS = tuple(name for name, entry in CONCEPTS.items() if entry.category is ABNORMAL)
_TUMORS = (_NEOPLASM, _MASS, _LESION)


def plain(name: str) -> str:
    """A name to compare by: lower case, singular, single spaces, one spelling.

    "Thick_Vessels" is "thick vessel", "Tumours" is "tumor"; "Auxiliary lymph nodes" is how Table 7 of the paper writes
    the axillary ones.
    """
    words = re.sub(r"[\s_-]+", " ", name.strip().lower())
    words = words.replace("tumour", "tumor").replace("auxiliary", "axillary")
    words = re.sub(r"ies\b", "y", re.sub(r"\bmasses\b", "mass", words))
    return re.sub(r"(?<=[a-rt-z])s\b", "", words)


def concept(name: str) -> Concept:
    """The concept of a class name: of the name as a whole, else of the abnormality that one of its words names."""
    text = plain(name)
    if text in CONCEPTS:
        return CONCEPTS[text]
    spaced = re.sub(rf"\bnon(?=(?:{'|'.join(_ABNORMAL_WORDS)})\b)", "non ", text)
    words = re.findall(r"\w+", spaced)
    if NEGATIONS.isdisjoint(words):
        for known in _ABNORMAL_WORDS:
            if known in words:
                return CONCEPTS[known]
    return UNKNOWN


def is_lesion(name: str) -> bool:
    """Whether the objects of a class are lesions, to be found one by one; calcifications are not."""
    return concept(name).role == "lesion"


def is_tumor(name: str) -> bool:
    """Whether a class is the tumor region of the paper's Table 7: a tumor, cancer, mass or unspecified lesion."""
    return concept(name) in _TUMORS
