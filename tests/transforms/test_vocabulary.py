"""Meaning of class names: lesions, tumors, negations, spellings."""

from __future__ import annotations

import pytest

from transforms.vocabulary import CONCEPTS, UNKNOWN, concept, is_lesion, is_tumor, plain


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Thick_Vessels", "thick vessel"),
        ("auxiliary lymph nodes", "axillary-lymph_node"),
        ("tumours", "Tumor"),
        ("Masses", "mass"),
        ("asymmetries", "Asymmetry"),
        ("  non-mammary   tissue", "non_mammary_tissue"),
        ("Espiculated Regions", "espiculated region"),
    ],
)
def test_spellings_of_one_name(one: str, other: str) -> None:
    assert plain(one) == plain(other)


@pytest.mark.parametrize(
    "name", ["tumor", "Cancer", "mass", "Masses", "malignant_mass", "tumours", "lesion", "Mass (malignant)", "nodule"]
)
def test_tumors_are_lesions(name: str) -> None:
    assert is_tumor(name)
    assert is_lesion(name)


@pytest.mark.parametrize("name", ["distortion", "Architectural_Distortion", "asymmetries", "spiculated region"])
def test_lesions_that_are_no_tumor(name: str) -> None:
    assert is_lesion(name)
    assert not is_tumor(name)


@pytest.mark.parametrize(
    "name",
    [
        "non-tumor", "Non_Tumour", "nontumor", "no cancer", "not tumor", "tissue without mass", "tumor-free tissue",
        "no lesion", "background (no mass)", "massage", "peritumoral tissue", "calcification", "gland", "normal", "",
        "outside lesions",
    ],
)  # fmt: skip
def test_no_lesions(name: str) -> None:
    assert not is_lesion(name)
    assert not is_tumor(name)


def test_a_compound_name_has_the_concept_of_its_word() -> None:
    assert concept("malignant masses") is CONCEPTS["mass"]
    assert concept("cluster of calcifications") is CONCEPTS["calcification"]
    assert concept("calcified mass") is CONCEPTS["mass"]
    assert concept("calcified vessel").role == "other"
    assert concept("non-calcification") is UNKNOWN


def test_the_table_is_written_as_names_are_compared() -> None:
    assert set(CONCEPTS) == {plain(name) for name in CONCEPTS}
