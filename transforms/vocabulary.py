"""Meaning of class names: lesions, parts of breast density, and coded concepts for DICOM.

Importers, DICOM SEG, findings and evaluation share this vocabulary. A name is first looked up as a whole. If it is not
in the table, its words are looked up: "malignant mass" is a mass and "breast tumor" a tumor. A name with a negation
("non-tumor", "no mass", "tumor-free") never matches by its words, and neither does a name that contains such a word
only inside another ("peritumoral").

Codes are SNOMED CT ("SCT") as DICOM lists them in PS3.16: CID 7150 "Segmentation Property Category", CID 7151
"Segmentation Property Type" and the mammography context groups CID 6014 to 6016 and 6054; each was checked against
pydicom's copy of these tables (`pydicom.sr.codedict`). If DICOM lists none, as for fibroglandular tissue and text, the
general concept is used, and the class name in the segment's label specifies it.
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
    """Meaning of a class.

    Attributes:
        category, type: codes of the segmented property (CID 7150, CID 7151).
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
"""Concepts by class name, as normalized by `plain`."""

UNKNOWN = Concept(TISSUE, TISSUE)
"""Concept of classes whose name is not in the table."""


NEGATIONS = frozenset(("non", "no", "not", "without", "free", "excluding", "except", "outside"))
_ABNORMAL_WORDS = tuple(name for name, entry in CONCEPTS.items() if entry.category is ABNORMAL)
_TUMORS = (_NEOPLASM, _MASS, _LESION)


def plain(name: str) -> str:
    """Normalize a name for comparison: lower case, singular, single spaces, one spelling.

    "Thick_Vessels" is "thick vessel", "Tumours" is "tumor"; Table 7 of the paper writes "Auxiliary lymph nodes" for the
    axillary ones.
    """
    words = re.sub(r"[\s_-]+", " ", name.strip().lower())
    words = words.replace("tumour", "tumor").replace("auxiliary", "axillary")
    words = re.sub(r"ies\b", "y", re.sub(r"\bmasses\b", "mass", words))
    return re.sub(r"(?<=[a-rt-z])s\b", "", words)


def concept(name: str) -> Concept:
    """The concept of a class name: that of the whole name, else of the abnormality that one of its words names."""
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
    """Whether the objects of a class are lesions, to be detected individually; calcifications are not."""
    return concept(name).role == "lesion"


def is_tumor(name: str) -> bool:
    """Whether a class belongs to the tumor region of the paper's Table 7: tumor, cancer, mass or unspecified lesion."""
    return concept(name) in _TUMORS
