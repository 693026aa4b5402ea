"""The table of findings: numbers by hand, and rows that are replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from transforms.outputs.findings import density_percent, findings, write_findings
from transforms.outputs.findings_table import put_refused, read_rows
from transforms.outputs.prediction import Prediction

CLASSES = ("background", "adipose tissue", "mammary gland", "tumor", "pectoral muscle")
LABEL = np.array([[0, 1, 1, 1, 2], [4, 3, 1, 2, 2], [4, 3, 3, 1, 3]], np.uint8)
# pixels: adipose 5, gland 3, tumor 4 in two lesions of 3 and 1, muscle 2


def prediction(folder: Path, name: str = "a", **options: Any) -> Prediction:
    options = {"label": LABEL, "classes": CLASSES, "spacing_mm": (0.5, 0.2), **options}
    return Prediction(folder=folder, name=name, **options)


def test_a_row_by_hand(tmp_path: Path) -> None:
    facts = {"laterality": "L", "view": "MLO", "spacing_source": "PixelSpacing", "burned_in": "yes"}
    assert findings(prediction(tmp_path, facts=facts)) == {
        "name": "a",
        "laterality": "L",
        "view": "MLO",
        "rows": "3",
        "columns": "5",
        "row_spacing_mm": "0.5",
        "column_spacing_mm": "0.2",
        "spacing_source": "PixelSpacing",
        "adipose tissue_px": "5",
        "adipose tissue_mm2": "0.50",
        "mammary gland_px": "3",
        "mammary gland_mm2": "0.30",
        "tumor_px": "4",
        "tumor_mm2": "0.40",
        "pectoral muscle_px": "2",
        "pectoral muscle_mm2": "0.20",
        "density_percent": "25.00",  # 3 of 5 + 3 + 4
        "lesions": "2",
        "lesion_scores": "",
        "largest_lesion_class": "tumor",
        "largest_lesion_left": "1",
        "largest_lesion_top": "1",
        "largest_lesion_width": "2",
        "largest_lesion_height": "2",
        "largest_lesion_px": "3",
        "largest_lesion_mm2": "0.30",
        "largest_lesion_score": "",
        "burned_in": "yes",
        "refused": "",
    }


def test_lesions_carry_their_highest_probability_and_low_ones_are_not_listed(tmp_path: Path) -> None:
    p = np.full((5, *LABEL.shape), 0.01)
    p[3] = [[0, 0, 0, 0, 0], [0, 0.4, 0, 0, 0], [0, 0.9, 0.5, 0, 0.3]]
    p[0] += 1 - p.sum(axis=0)
    logits = torch.from_numpy(np.log(p.clip(1e-9)))
    row = findings(prediction(tmp_path, logits=logits))
    assert (row["lesions"], row["lesion_scores"], row["largest_lesion_score"]) == ("2", "0.9000 0.3000", "0.9000")
    row = findings(prediction(tmp_path, logits=logits, min_lesion_score=0.5))
    assert (row["lesions"], row["lesion_scores"]) == ("1", "0.9000")
    row = findings(prediction(tmp_path, logits=logits, lesions=(2,)))
    assert (row["lesions"], row["largest_lesion_class"]) == ("1", "mammary gland")


def test_without_spacing_areas_are_in_pixels_only(tmp_path: Path) -> None:
    row = findings(prediction(tmp_path, spacing_mm=None))
    assert {key for key, value in row.items() if key.endswith("_mm2") and value} == set()
    assert (row["tumor_px"], row["row_spacing_mm"]) == ("4", "")


def test_no_lesion_found_and_no_class_of_lesions(tmp_path: Path) -> None:
    assert findings(prediction(tmp_path, label=np.ones((2, 2), np.uint8)))["lesions"] == "0"
    row = findings(prediction(tmp_path, label=np.ones((2, 2), np.uint8), classes=("background", "adipose")))
    assert row["lesions"] == row["largest_lesion_px"] == row["density_percent"] == ""


@pytest.mark.parametrize(
    ("classes", "pixels", "expected"),
    [
        (("background", "gland", "fat"), [9, 1, 3], 25.0),
        (("background", "gland", "fat", "calcifications"), [9, 1, 2, 1], 25.0),
        (("background", "gland", "fat", "skin", "nipple"), [9, 1, 3, 50, 50], 25.0),
        (("background", "gland", "tumor"), [9, 1, 3], None),
        (("background", "gland", "fat"), [9, 0, 0], None),
    ],
)
def test_density(classes: tuple[str, ...], pixels: list[int], expected: float | None) -> None:
    assert density_percent(classes, pixels) == expected


def test_rows_are_added_replaced_and_never_lost(tmp_path: Path) -> None:
    write_findings(prediction(tmp_path, "a"))
    write_findings(prediction(tmp_path, "b", spacing_mm=None))
    put_refused(tmp_path, "c", "damaged")
    write_findings(prediction(tmp_path, "a", label=np.zeros((3, 5), np.uint8)))
    rows = {row["name"]: row for row in read_rows(tmp_path / "findings.csv")}
    assert set(rows) == {"a", "b", "c"}
    assert (rows["a"]["tumor_px"], rows["b"]["tumor_px"], rows["c"]["tumor_px"]) == ("0", "4", "")
    assert rows["c"]["refused"] == "damaged"
    assert [p.name for p in tmp_path.iterdir()] == ["findings.csv"]
    header = (tmp_path / "findings.csv").read_text().splitlines()[0].split(",")
    assert (header[0], header[-2:]) == ("name", ["burned_in", "refused"])


def test_a_class_called_lesion_keeps_its_whole_area_beside_that_of_the_largest(tmp_path: Path) -> None:
    label = np.array([[1, 1, 0, 1]], np.uint8)
    row = findings(prediction(tmp_path, label=label, classes=("background", "lesion")))
    assert (row["lesion_px"], row["largest_lesion_px"], row["lesions"]) == ("3", "2", "2")
