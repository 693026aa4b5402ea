"""Attributes by which images can be grouped, and their allowed values: fixed terms and bands, nothing identifying.

A value leaves this file only as one of the terms below, so that no name, identifier or date can pass, whatever a
header, a dataset.json or a table holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

VIEWS = ("CC", "MLO", "ML", "LM", "LMO", "XCCL", "XCCM", "XCC", "FB", "SIO", "ISO")

AGES = ((40, "under 40"), (50, "40-49"), (60, "50-59"), (70, "60-69"), (200, "70 or older"))
"""Upper limit of each age band in years, exclusive, and its name."""

_NARROWEST, _OLDEST = 5, 90
_BAND = re.compile(r"(\d{1,3}) ?[-–] ?(\d{1,3})")
_OPEN_BAND = re.compile(r"(?:[<>]=? ?|under |over )(\d{1,3})|(\d{1,3}) ?(?:\+|or older|or younger)")

_MAKERS = {
    "hologic": "hologic", "lorad": "hologic", "ge": "ge", "general electric": "ge", "siemens": "siemens",
    "fuji": "fujifilm", "fujifilm": "fujifilm", "philips": "philips", "sectra": "philips", "planmed": "planmed",
    "ims": "ims", "giotto": "ims", "agfa": "agfa", "carestream": "carestream", "kodak": "carestream",
    "konica": "konica minolta", "minolta": "konica minolta", "metaltronica": "metaltronica", "canon": "canon",
    "toshiba": "canon", "hitachi": "fujifilm", "internazionale medico scientifica": "ims", "trex": "hologic",
}  # fmt: skip
"""Word in a manufacturer's name to the term that is kept."""

_DENSITY_WORDS = (
    *("almost", "entirely", "fatty", "scattered", "fibroglandular", "areas", "of", "density", "heterogeneously"),
    *("heterogeneous", "extremely", "extreme", "dense", "non", "not"),
)
_PATHOLOGY_WORDS = (
    *("normal", "benign", "malignant", "without", "callback", "invasive", "in", "situ", "ductal", "lobular"),
    *("carcinoma", "cancer", "dcis", "lcis", "idc", "ilc", "suspicious", "healthy", "unknown", "high", "risk"),
)
_FINDING_WORDS = (
    *("no", "none", "mass", "masses", "non", "calcification", "calcifications", "microcalcification", "asymmetry"),
    *("microcalcifications", "architectural", "distortion", "edema", "skin", "thickening", "duct", "lymph", "node"),
    *("foci", "postoperative", "other", "normal", "finding", "enhancement", "and", "cluster", "spiculated", "cyst"),
)
_MACHINE_WORDS = (
    *("selenia", "dimensions", "3dimensions", "senographe", "pristina", "essential", "mammomat", "inspiration"),
    *("revelation", "amulet", "innovality", "microdose", "nuance", "clarity", "machine"),
)


def age_band(years: int) -> str:
    """Return the band of an age."""
    return next((name for limit, name in AGES if years < limit), AGES[-1][1])


def manufacturer(text: str) -> str | None:
    """Manufacturer of a device; "other" if unknown, None if none is stated."""
    words = " ".join(re.findall(r"[a-z]+", text.lower()))
    known = (name for word, name in _MAKERS.items() if re.search(rf"\b{word}\b", words))
    return next(known, "other") if words else None


def _upper(*values: str) -> Callable[[str], str | None]:
    return lambda text: text.upper() if text.upper() in values else None


def _mapped(values: Mapping[str, str]) -> Callable[[str], str | None]:
    return lambda text: values.get(text)


def _of_words(*words: str) -> Callable[[str], str | None]:
    """Accept texts whose words are all known; separators are kept."""

    def checked(text: str) -> str | None:
        fits = re.fullmatch(r"[a-z0-9]+(?:[ +_/,-]+[a-z0-9]+)*", text)
        return text if fits and set(re.findall(r"[a-z0-9]+", text)) <= set(words) else None

    return checked


def _density(text: str) -> str | None:
    return text.upper() if re.fullmatch(r"[a-d1-4]|i{1,3}|iv", text) else _of_words(*_DENSITY_WORDS)(text)


def _birads(text: str) -> str | None:
    return text.upper() if re.fullmatch("[0-6]|4[abc]", text) else None


def _machine(text: str) -> str | None:
    if re.fullmatch(r"[a-z]|\d{1,2}", text):
        return text.upper()
    return _of_words(*_MACHINE_WORDS, *(word for name in _MAKERS for word in name.split()))(text)


def _age(text: str) -> str | None:
    """A band of five years or more unchanged, a whole number of years as its band."""
    if re.fullmatch(r"\d{1,3}", text):
        return age_band(int(text)) if int(text) < AGES[-1][0] else None
    if band := _BAND.fullmatch(text):
        low, high = int(band[1]), int(band[2])
        return f"{low}-{high}" if low < _OLDEST and high - low + 1 >= _NARROWEST else None
    open_band = _OPEN_BAND.fullmatch(text)
    years = int(open_band[1] or open_band[2]) if open_band else _OLDEST + 1
    return text if 18 <= years <= _OLDEST else None


CHECKS: dict[str, Callable[[str], str | None]] = {
    "view": _upper(*VIEWS),
    "laterality": _mapped({"l": "L", "left": "L", "r": "R", "right": "R"}),
    "density": _density,
    "birads": _birads,
    "manufacturer": manufacturer,
    "machine": _machine,
    "acquisition": _mapped(
        {
            "digital": "digital", "ffdm": "digital", "dr": "digital", "film": "film", "screen-film": "film",
            "digitized film": "film", "scanned film": "film", "computed radiography": "computed radiography",
            "cr": "computed radiography",
        }
    ),
    "presentation": _mapped(
        {
            "presentation": "presentation", "for presentation": "presentation", "processed": "presentation",
            "processing": "processing", "for processing": "processing", "raw": "processing",
        }
    ),
    "energy": _of_words("low", "high", "subtracted", "recombined", "dm", "cm", "single"),
    "pathology": _of_words(*_PATHOLOGY_WORDS),
    "findings": _of_words(*_FINDING_WORDS),
    "mass_only": _mapped({"yes": "yes", "no": "no", "true": "yes", "false": "no", "1": "yes", "0": "no"}),
    "age": _age,
}  # fmt: skip
"""Attribute → function from a lower-case text to one of the attribute's terms, or None."""

EXPECTED = {
    "view": ", ".join(VIEWS),
    "laterality": "L or R",
    "density": "A to D, 1 to 4, I to IV, or words such as dense",
    "birads": "0 to 6, 4a to 4c",
    "manufacturer": "a name",
    "machine": "a letter, a number up to 99, or a known maker and model",
    "acquisition": "digital, film or computed radiography",
    "presentation": "presentation or processing",
    "energy": "low, high, subtracted or recombined",
    "pathology": "terms such as benign or malignant",
    "findings": "terms such as mass or calcification, joined by +",
    "mass_only": "yes or no",
    "age": "whole years, which become bands, or bands of five years or more such as 40-49, under 40 or 70+",
}

CODE = "one letter, a number up to 99, yes or no"
"""Allowed values of user-defined attributes."""


@lru_cache(maxsize=4096)  # the values of many images are few
def term(name: str, text: str) -> str | None:
    """Normalized value of an attribute; None if it is not one of the attribute's terms.

    Args:
        name: one of `CHECKS`, or a user-defined name, whose values are codes (`CODE`).
        text: the value as found.
    """
    plain = re.sub(r"\s+", " ", text.strip().lower())
    if name in CHECKS:
        return CHECKS[name](plain) if len(plain) <= 64 else None
    return plain if re.fullmatch(r"[a-z]|\d{1,2}|yes|no", plain) else None


def expected(name: str) -> str:
    """Allowed values of an attribute, for messages."""
    return EXPECTED.get(name, CODE)
