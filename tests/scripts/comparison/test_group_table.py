"""`scripts.compare --by`: sources of attributes, groups of images and subjects, and tests."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.records.attributes import Attributes
from engines.records.output_folder import Output
from engines.records.tables import read_csv
from engines.scoring.lesion_files import LesionResult, read_lesion_result, write_lesion_result
from engines.scoring.matching import HIT, ImageLesions, Judged, Lesion, Rule
from scripts.comparison.attribute_source import known_attributes
from scripts.comparison.console_table import console
from scripts.comparison.group_table import with_groups
from scripts.comparison.models import Model
from scripts.comparison.store import Result
from scripts.comparison.table import compare, markdown
from transforms.errors import UserError


def lesion_image(number: int, dice: float) -> ImageLesions:
    shared = round(10 * dice)
    lesion = Lesion(10, 0.01, None, (0, 0, 3, 3), 0.9, dice)
    found = (Judged(0.9, 10, (0, 0, 3, 3), HIT, 0),)
    known = {"density": "B" if number < 6 else "C", "view": "CC"}
    return ImageLesions(f"s{number:03d}", f"s{number:03d}_L_CC", 10, 10, shared, (lesion,), found, attributes=known)


def result(dice: list[float], lesions: bool = True, title: str = "U-Net") -> Result:
    """Subjects with one image of 100 pixels each, 10 of a tumor."""
    shared = [round(10 * each) for each in dice]
    subjects = {f"s{n:03d}": np.array([[80 + each, 10 - each], [10 - each, each]]) for n, each in enumerate(shared)}
    images = tuple(lesion_image(n, each) for n, each in enumerate(dice))
    classes = ("background", "tumor" if lesions else "gland")
    return Result(
        "unet", "run", ("id",), "validation", classes, "tiny", "d" * 64, subjects, folds=(subjects,),
        lesions=LesionResult(("tumor",), Rule(), images) if lesions else None, model=Model("unet", title, (0, 0)),
    )  # fmt: skip


DICE = [0.8] * 6 + [0.4] * 6


def test_groups_of_images_by_what_was_stored_with_the_results(tmp_path: Path) -> None:
    row = result(DICE)
    known = known_attributes([row], None, None, [])
    assert known.names == ("view", "density", "size")
    (made,) = with_groups([compare([row], 200, 0)], known.only(["density"]), 200, 0, tmp_path)
    lines = read_csv(tmp_path / "groups.csv")
    assert [(line["group"], line["subjects"], float(line["mean_image_dice"])) for line in lines] == [
        ("B", "6", pytest.approx(0.8)), ("C", "6", pytest.approx(0.4)),
    ]  # fmt: skip
    (tested,) = read_csv(tmp_path / "group_tests.csv")
    assert (tested["attribute"], tested["worst"], tested["best"], tested["score"]) == (
        "density", "C", "B", "mean_image_dice",
    )  # fmt: skip
    assert float(tested["p"]) == float(tested["p_holm"]) < 0.02  # 2 of 924 ways
    text = console(made)
    assert "Do the groups differ?" in text
    assert "density    U-Net  2       C" in text
    assert "| density B | U-Net | 6 | 6 | 6 |" in markdown(made)


def test_attributes_are_stored_with_the_lesions_and_only_in_their_terms(tmp_path: Path) -> None:
    found = result(DICE).lesions
    assert found is not None
    about = {"section": "validation", "dataset": "tiny", "dataset_digest": "d"}
    path = write_lesion_result(Output(tmp_path), "unet", found, about)
    text = path.read_text(encoding="utf-8")
    assert read_lesion_result(json.loads(text)) == found
    content = json.loads(text.replace('"density": "B"', '"density": "Mary"'))
    assert dict(read_lesion_result(content).images[0].attributes) == {"view": "CC"}
    del content["images"][0]["attributes"]  # an older result
    assert dict(read_lesion_result(content).images[0].attributes) == {}


def test_rows_of_several_seeds_are_means() -> None:
    row = result(DICE)
    other = result([0.2] * 6 + [0.4] * 6)
    known = known_attributes([row], None, None, ["density"])
    (made,) = with_groups([compare([replace(row, seeds=(other,))], 200, 0)], known, 200, 0, Path("/nonexistent"))
    assert [line[0] for line in made.extra[0].lines] == ["Group", "density B", "density C"]
    assert [line[-2].split(" ")[0] for line in made.extra[0].lines[1:]] == ["50.0", "40.0"]


def test_groups_of_subjects_where_no_class_is_a_lesion(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("subject,density,site\n" + "".join(f"s{n:03d},{'BC'[n > 5]},a\n" for n in range(11)))
    row = result(DICE, lesions=False)
    known = known_attributes([row], table, None, ["density"])
    (made,) = with_groups([compare([row], 200, 0)], known, 200, 0, tmp_path / "out", "dice/gland")
    head, *lines = made.extra[0].lines
    assert head == ("Group", "Model", "Subjects", "mean_iou", "mean_dice", "dice/gland")
    assert [(line[0], line[2], line[-1].split(" ")[0]) for line in lines] == [
        ("density B", "6", "80.0"), ("density C", "5", "40.0"), ("density unknown", "1", ""),
    ]  # fmt: skip
    assert lines[2][3] == "too few subjects"
    (tested,) = read_csv(tmp_path / "out" / "group_tests.csv")
    assert (tested["worst"], tested["score"]) == ("C", "dice/gland")
    assert float(tested["worst_value"]) == pytest.approx(0.4)
    assert float(tested["p"]) < 0.02


def test_a_group_of_subjects_without_the_class_is_neither_the_worst_nor_the_best(tmp_path: Path) -> None:
    row = result([0.8] * 5 + [0.4] * 5 + [0.2] * 5, lesions=False)
    for number in range(5):
        row.subjects[f"s{number:03d}"][...] = [[100, 0], [0, 0]]
    table = tmp_path / "a.csv"
    table.write_text("subject,density\n" + "".join(f"s{n:03d},{'ABC'[n // 5]}\n" for n in range(15)))
    known = known_attributes([row], table, None, ["density"])
    with_groups([compare([row], 200, 0)], known, 200, 0, tmp_path / "out", "dice/gland")
    (tested,) = read_csv(tmp_path / "out" / "group_tests.csv")
    assert (tested["groups"], tested["worst"], tested["best"]) == ("2", "C", "B")
    assert float(tested["p"]) < 0.02


def test_an_attribute_of_images_says_of_a_subject_what_all_of_hers_share(tmp_path: Path) -> None:
    row = result(DICE, lesions=False)
    cases = {f"s{n:03d}_L_{view}": {"view": view, "density": "BC"[n > 5]} for n in range(12) for view in ("CC", "MLO")}
    known = Attributes(cases, {}, ("view", "density"))
    (made,) = with_groups([compare([row], 200, 0)], known, 200, 0, tmp_path)
    assert [line[0] for line in made.extra[0].lines[1:]] == ["density B", "density C"]


def test_an_attribute_that_nothing_is_known_of_is_refused(tmp_path: Path) -> None:
    row = result(DICE)
    with pytest.raises(UserError, match=r"--by age: unknown for these images; choose from view, density, size, or"):
        known_attributes([row], None, None, ["age"])
    table = tmp_path / "a.csv"
    table.write_text("case,density\nelse,B\n")
    with pytest.raises(UserError, match="has no row for any of the 12 images of tiny"):
        known_attributes([row], table, None, [])


def test_a_table_comes_before_the_data_set_and_that_before_the_results(tiny_dataset: Path, tmp_path: Path) -> None:
    row = result(DICE)
    known = known_attributes([row], None, tiny_dataset, [])
    assert known.of("s004", "s004_L_CC") == {"view": "CC", "laterality": "L", "density": "B"}
    table = tmp_path / "a.csv"
    table.write_text("subject,density,age\ns004,D,44\n")
    known = known_attributes([row], table, tiny_dataset, ["age", "density"])
    assert known.names == ("age", "density")
    assert known.of("s004", "s004_L_CC")["density"] == "D"
