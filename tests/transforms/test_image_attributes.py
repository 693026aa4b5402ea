"""Attributes that images can be grouped by; nothing else is stored."""

from __future__ import annotations

import pytest

from transforms.image_attributes import CHECKS, EXPECTED, age_band, expected, manufacturer, term


@pytest.mark.parametrize(
    ("name", "text", "kept"),
    [
        ("view", "mlo", "MLO"), ("view", "rear", None), ("laterality", "Left", "L"), ("density", " c ", "C"),
        ("density", "IV", "IV"), ("density", "extremely dense", "extremely dense"), ("density", "Eve", None),
        ("birads", "4a", "4A"), ("birads", "7", None), ("manufacturer", "GE MEDICAL SYSTEMS", "ge"),
        ("manufacturer", "HOLOGIC, Inc.", "hologic"), ("manufacturer", "George Smith", "other"),
        ("machine", "Selenia Dimensions", "selenia dimensions"), ("machine", "7", "7"), ("machine", "SN12345", None),
        ("acquisition", "FFDM", "digital"), ("acquisition", "screen-film", "film"),
        ("presentation", "raw", "processing"),
        ("energy", "recombined", "recombined"), ("pathology", "benign without callback", "benign without callback"),
        ("pathology", "malignant 20240131", None), ("findings", "mass+calcification", "mass+calcification"),
        ("mass_only", "True", "yes"), ("age", "39", "under 40"), ("age", "50-59", "50-59"), ("age", "50-53", None),
        ("age", "70 or older", "70 or older"), ("age", "<40", "<40"), ("age", "95-99", None), ("age", "480", None),
        ("age", "90+", "90+"), ("site", "B", "b"), ("site", "99", "99"), ("site", "100", None), ("site", "Ulm", None),
    ],
)  # fmt: skip
def test_terms(name: str, text: str, kept: str | None) -> None:
    assert term(name, text) == kept


def test_every_attribute_says_what_it_expects_and_ages_are_bands_of_ten_years() -> None:
    assert CHECKS.keys() == EXPECTED.keys()
    assert expected("site").startswith("one letter")
    assert [age_band(years) for years in (18, 39, 40, 49, 69, 70, 250)] == [
        "under 40", "under 40", "40-49", "40-49", "60-69", "70 or older", "70 or older",
    ]  # fmt: skip
    assert manufacturer("  ") is None
