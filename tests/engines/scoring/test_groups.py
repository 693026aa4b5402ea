"""Lesion scores by group: columns read, groups merged, and scores by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from repository import ROOT

from engines.records.attributes import check_known, dataset_attributes, read_attributes
from engines.scoring.groups import SIZE, cells, groups, sentences
from engines.scoring.matching import FALSE, HIT, ImageLesions, Judged, Lesion
from transforms.dataset import Dataset
from transforms.errors import UserError

FOLDS = ROOT / "docs" / "folds"


def image(number: int, found: bool, false: int = 0, share: float = 0.01, shared: int = 5) -> ImageLesions:
    """An image of a subject of its own with one lesion of 10 pixels, of which `shared` are in a mask of 10."""
    lesion = Lesion(10, share, None, (0, 0, 3, 3), 0.9 if found else None, 0.5)
    hits = (Judged(0.9, 10, (0, 0, 3, 3), HIT, 0),) if found else ()
    wrong = tuple(Judged(0.8 - n / 100, 5, (5, 5, 8, 8), FALSE, None) for n in range(false))
    return ImageLesions(f"s{number:03d}", f"s{number:03d}_L_CC", 10, 10, shared, (lesion,), (*hits, *wrong))


def density(subject: str, case: str) -> dict[str, str]:
    number = int(subject[1:])
    return {"density": "B" if number < 6 else "C" if number < 11 else "D"} if number < 13 else {}


def test_scores_of_each_group_by_hand() -> None:
    # B: 6 women, 4 found, 3 false; C: 5, 1 found; D: 2, and 2 of whom nothing is known
    images = [image(n, n in (0, 1, 2, 3, 6), false=3 if n == 0 else 0, shared=5 if n < 6 else 0) for n in range(15)]
    found = [group for group in groups(images, density, ["density", "view"]) if group.attribute == "density"]
    assert [(g.value, g.subjects, g.images, g.lesions) for g in found] == [
        ("B", 6, 6, 6), ("C", 5, 5, 5), ("D", 2, 2, 2), ("unknown", 2, 2, 2),
    ]  # fmt: skip
    row = found[0].record(100)
    assert row["lesion_sensitivity_at_1fp"] == pytest.approx(4 / 6)
    assert row["false_positives_per_image_at_1fp"] == pytest.approx(0.5)  # at the score of all images, not of its own
    assert row["mean_image_dice"] == pytest.approx(0.5)
    assert row["lesion_dice"] == pytest.approx(0.5)
    assert row["lesion_sensitivity_at_1fp_low"] < 4 / 6 < row["lesion_sensitivity_at_1fp_high"]
    assert found[1].measures["lesion_sensitivity_at_1fp"].value == pytest.approx(0.2)
    assert not found[2].measures
    assert found[2].record()["lesion_dice"] is None
    assert cells(found[2]) == ["density D", "2", "2", "2", "too few subjects", "", "", ""]
    assert sentences(found)[0].split() == [
        *("Group", "Subjects", "Images", "Lesions", "Found", "at", "1", "FP", "FP", "per", "image"),
        *("Dice", "per", "image", "Dice"),
    ]
    assert len(sentences(found)) == 6
    assert sentences(found)[-1].startswith("~ Too few subjects (5)")
    assert sentences([]) == []


def test_groups_of_few_subjects_are_merged_but_not_with_the_unknown_and_ages_ascend() -> None:
    ages = {0: "under 40", 1: "40-49", 2: "50-59", 3: "unknown"}

    def age(subject: str, case: str) -> dict[str, str]:
        return {"age": ages[min(3, int(subject[1:]) // 4)]}

    found = groups([image(n, True) for n in range(18)], age, ["age"])
    assert [(g.value, g.subjects) for g in found] == [("other (under 40, 40-49, 50-59)", 12), ("unknown", 6)]


def test_an_attribute_of_one_value_is_no_group_and_sizes_are_those_of_the_largest_lesion() -> None:
    images = [image(n, n < 9, share=0.01 * (1 + n // 5)) for n in range(15)]
    found = groups(images, lambda subject, case: {"view": "CC"}, ["view", SIZE])
    assert [(g.attribute, g.value, g.subjects) for g in found] == [
        ("size", "smallest_third", 5), ("size", "middle_third", 5), ("size", "largest_third", 5),
    ]  # fmt: skip
    assert [g.measures["lesion_sensitivity_at_1fp"].value for g in found] == [1, 0.8, 0]
    assert groups([], lambda subject, case: {}, [SIZE]) == []


def test_allowed_columns_are_read_and_others_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("name;case;density;age;view\nMary;s001_L_CC;B ;40-49;CC\n;;;;\nAnn;s002_L_CC;_;<40;\n")
    found = read_attributes(path)
    assert found.names == ("view", "density", "age")
    assert found.of("s001", "s001_L_CC") == {"view": "CC", "density": "B", "age": "40-49"}
    assert found.of("s002", "s002_L_CC") == {"age": "<40"}
    assert found.of("s003", "s003_L_CC") == {}
    assert "Mary" not in repr(found)


def test_attributes_of_subjects_and_of_the_data_set_together(tiny_dataset: Path, tmp_path: Path) -> None:
    content = json.loads((tiny_dataset / "dataset.json").read_text())
    content["validation"][0]["attributes"] = {"density": "A", "age": "70+"}
    (tiny_dataset / "dataset.json").write_text(json.dumps(content))
    known = dataset_attributes(Dataset.load(tiny_dataset))
    assert known.names == ("view", "laterality", "density", "age")
    path = tmp_path / "a.csv"
    path.write_text("subject,density\ns004,C\n")
    both = read_attributes(path).over(known)
    assert both.of("s004", "s004_L_CC") == {"view": "CC", "laterality": "L", "density": "C", "age": "70+"}
    assert both.of("s005", "s005_L_CC") == {"view": "CC", "laterality": "L"}
    check_known(both, [("s004", "s004_L_CC")], "tiny")
    with pytest.raises(UserError, match=r"has no row for any of the 1 images of tiny; .* such as s009_R_CC"):
        check_known(read_attributes(path), [("s009", "s009_R_CC")], "tiny")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subject,density\ns1,C\ns2,Mary Smith\n", "row 3: its density is not one of the permitted values, .* A to D"),
        ("subject,machine\ns1,Mary\n", "row 2: its machine is not one of the permitted values"),
        ("subject,view\ns1,MRN 00417\n", "row 2: its view is not one of the permitted values"),
        ("subject,findings\ns1,mass in Mary\n", "row 2: its findings is not one of the permitted values"),
        ("subject,age\ns1,1961-04-17\n", "row 2: its age is not one of the permitted values"),
        (
            "subject,age\ns1,47-48\n",
            "row 2: its age is not one of the permitted values, .* bands of five years or more",
        ),
        ("subject,age\ns1,100+\n", "row 2: its age is not one of the permitted values"),
        ("", "expected rows with the column case or subject, and one or more of view, laterality, density"),
        ("woman,density\nP1,C\n", "expected rows with the column case or subject"),
        ("case,name\na,Mary\n", "one or more of view, .*; other columns are only read if --by names them"),
        ("case,view\na,CC\nMary,\n,CC\n", "row 4: its case is empty; give each once"),
        ("case,view\nMary,CC\nMary,MLO\n", "row 3: its case is given twice"),
        ("subject,machine\n" + "".join(f"s{n},{n}\n" for n in range(13)), "machine has 13 different values"),
        ("subject,machine\ns1," + 500 * "x" + "\n", "row 2: its machine is not one of the permitted values"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_attributes(path)
    assert "Mary" not in str(error.value)
    with pytest.raises(UserError, match="no such file"):
        read_attributes(tmp_path / "b.csv")


def test_ages_become_bands_and_columns_of_ones_own_hold_codes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("subject,age,site,patient\ns1,47,A,Mary\ns2,70+,b,Ann\ns3,under 40,12,\n")
    assert read_attributes(path).names == ("age",)
    found = read_attributes(path, ["site"])
    assert found.names == ("age", "site")
    assert [found.of(f"s{n}", "") for n in (1, 2, 3)] == [
        {"age": "40-49", "site": "a"}, {"age": "70+", "site": "b"}, {"age": "under 40", "site": "12"},
    ]  # fmt: skip
    with pytest.raises(
        UserError, match=r"row 2: its patient is not one of the permitted values, .* expected one letter, a number"
    ):
        read_attributes(path, ["patient"])


def test_values_of_a_data_set_that_are_no_terms_are_left_out(tiny_dataset: Path) -> None:
    content = json.loads((tiny_dataset / "dataset.json").read_text())
    content["validation"][0]["attributes"] = {"density": "Mary", "age": "1961-04-17", "manufacturer": "GE Mary"}
    (tiny_dataset / "dataset.json").write_text(json.dumps(content))
    known = dataset_attributes(Dataset.load(tiny_dataset))
    assert known.of("s004", "s004_L_CC") == {"view": "CC", "laterality": "L", "manufacturer": "ge"}


def test_the_committed_attributes_are_of_the_committed_folds() -> None:
    found = read_attributes(FOLDS / "cdd-cesm-attributes.csv")
    with (FOLDS / "cdd-cesm.csv").open(encoding="utf-8", newline="") as file:
        subjects = {row["subject"] for row in csv.DictReader(file)}
    assert {case[:4] for case in found.cases} == subjects
    assert len(found.cases) == 181
    assert sum(texts["mass_only"] == "yes" for texts in found.cases.values()) == 58
    assert {texts["view"] for texts in found.cases.values()} == {"CC", "MLO"}
