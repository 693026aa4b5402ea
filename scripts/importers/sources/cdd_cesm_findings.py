"""Findings and attributes of a row of CDD-CESM's annotations, as fixed terms.

The table's free text never reaches a dataset folder: only words in the lists here are kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from scripts.importers.sources.cdd_cesm_tables import ImageId, Row
from transforms.errors import UserError
from transforms.image_attributes import age_band

PATHOLOGIES = ("normal", "benign", "malignant")
FINDINGS = {
    "mass": r"(?<!non )\bmass(es)?\b|\bnodules?\b",
    "non-mass": r"\bnon mass\b",
    "asymmetry": r"\bass?ymm?etr",
    "distortion": r"\bdistort",
    "calcification": r"calcif",
    "edema": r"\bo?edem",
    "skin": r"\bskin\b|nipple retraction",
    "duct": r"dilated [a-z ]*duct|ductal ext|duct ectasia",
    "lymph node": r"\bimln\b|lymph",
    "foci": r"\bfoc(us|i) of enhanc|enhancing foc(us|i)\b",
    "postoperative": r"postop|\bscar\b|surgical",
}
"""Name of a finding to the pattern that detects it in the columns Tags and Findings."""

OTHER = "other"
ALL = "all"


def named_findings(row: Row) -> tuple[str, ...]:
    """Return the findings that a row names, in the order of `FINDINGS`; ("other",) if it names only others.

    "No mass or non mass enhancement" and "normal" are no finding.
    """
    text = re.sub(r"[\s_-]+", " ", f"{row.tags}, {row.findings}".lower())
    text = re.sub(r"\bno\b[^,$]*|\bnormal\b|\bnon enhancement\b", " ", text)
    found = tuple(name for name, pattern in FINDINGS.items() if re.search(pattern, text))
    return found or ((OTHER,) if re.search(r"[a-z]", text) else ())


def checked_findings(names: Sequence[str]) -> frozenset[str] | None:
    """Return the findings that count, or None if all do.

    Raises:
        UserError: an unknown finding.
    """
    known = (*FINDINGS, OTHER)
    if not names or ALL in names:
        return None
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f"--findings: unknown finding {unknown[0]!r}; choose from {ALL}, {', '.join(known)}")
    return frozenset(names)


def attributes(image: ImageId, row: Row) -> dict[str, str]:
    """Return the attributes of an image for subgroups, without those that the row does not state.

    Keys: energy, pathology, density (A to D), birads (the highest of several), age (a band), findings (joined by "+"),
    machine.
    """
    birads = re.findall(r"\b[0-6]\b", row.birads.replace("$", " "))
    found = {
        "energy": image.energy,
        "pathology": row.pathology if row.pathology in PATHOLOGIES else "",
        "density": row.density.upper() if re.fullmatch("[A-Da-d]", row.density) else "",
        "birads": max(birads, default=""),
        "age": _age_band(row.age),
        "findings": "+".join(named_findings(row)),
        "machine": row.machine if re.fullmatch("[0-9]", row.machine) else "",
    }
    return {name: text for name, text in found.items() if text}


def _age_band(text: str) -> str:
    years = re.match(r"\d{1,3}(?!\d)", text)
    return age_band(int(years[0])) if years and int(years[0]) < 200 else ""
