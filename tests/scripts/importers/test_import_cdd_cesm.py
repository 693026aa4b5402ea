"""CDD-CESM: small files in the layout of the release, with its defects; masks and areas worked out by hand."""

from __future__ import annotations

import csv
import json
import sys
import types
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts.importers.import_options import ImportOptions
from scripts.importers.sources.cdd_cesm import import_cdd_cesm
from scripts.importers.sources.cdd_cesm_findings import attributes, named_findings
from scripts.importers.sources.cdd_cesm_tables import ImageId, Row, read_tables
from scripts.importers.writing.writer import Summary
from scripts.prepare import main
from transforms.dataset import Dataset, open_array
from transforms.errors import UserError

SHAPE = (40, 30)
HEADER = (
    "Image_name", "Patient_ID", "Side", "Type", "Age", "Breast density (ACR)", "BIRADS", "Findings", "View", "Tags",
    "Machine", "Pathology Classification/ Follow up",
)  # fmt: skip
VIA = ("#filename", "file_size", "file_attributes", "region_count", "region_id", "region_shape_attributes",
       "region_attributes")  # fmt: skip
BOX = {"name": "rect", "x": 4, "y": 10, "width": 6, "height": 20}  # columns 4 to 9, rows 10 to 29


def polygon(*points: tuple[float, float], name: str = "polygon") -> dict[str, Any]:
    return {"name": name, "all_points_x": [x for x, _ in points], "all_points_y": [y for _, y in points]}


class Release:
    """The release in the making; every image is of one gray value of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root / "PKG - CDD-CESM"
        self.rows: list[list[str]] = []
        self.regions: list[list[str]] = []
        self.count = 0

    def image(
        self,
        name: str,
        pathology: str,
        *shapes: dict[str, Any],
        tags: str = "malignant mass",
        findings: str = "",
        spelling: str | None = None,
        shape: tuple[int, int] = SHAPE,
        **cells: str,
    ) -> int:
        """Add a file, its row and its outlines; returns its gray value."""
        woman, side, kind, view = name.split("_")[:4]
        self.count += 10
        folder = "Low energy images of CDD-CESM" if kind == "DM" else "Subtracted images of CDD-CESM"
        path = self.root / "CDD-CESM" / folder / f"{spelling or name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full(shape, self.count, np.uint8)).convert("RGB").save(path)
        row = {
            "Image_name": name, "Patient_ID": woman[1:], "Side": side, "Type": "DM" if kind == "DM" else "CESM",
            "Age": "46", "Breast density (ACR)": "C" if kind == "DM" else "_", "BIRADS": "4$2", "Findings": findings,
            "View": view[:3].rstrip("0123456789"), "Tags": tags, "Machine": "1",
            "Pathology Classification/ Follow up": pathology, **cells,
        }  # fmt: skip
        self.rows.append([row[key] for key in HEADER])
        for number, content in enumerate(shapes):
            size = str(path.stat().st_size)
            self.regions.append([f" {name} .jpg", size, "{}", str(len(shapes)), str(number), json.dumps(content), "{}"])
        return self.count

    def write(self, delimiter: str = ",", annotations: str = "Radiology-manual-annotations.csv") -> Path:
        for file, head, rows in (
            (annotations, HEADER, self.rows),
            ("Radiology_hand_drawn_segmentations_v2.csv", VIA, self.regions),
        ):
            with (self.root / file).open("w", newline="", encoding="utf-8") as stream:
                csv.writer(stream, delimiter=delimiter).writerows([head, *rows])
        return self.root


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """Three women: malignant in both energies, benign, and normal."""
    made = Release(tmp_path)
    made.image("P1_L_DM_MLO", "Malignant", BOX)
    made.image("P1_L_CM_MLO", "Malignant", polygon((0, 0), (30, 0), (30, 5), (0, 5)))
    made.image("P2_R_DM_CC", "Benign ", BOX, tags="benign mass, circumscribed")
    made.image("P3_R_DM_CC", "Normal", tags="normal")
    return made


def labels(out: Path) -> dict[int, tuple[dict[str, Any], np.ndarray]]:
    """Items as in dataset.json and label maps, by the gray value of the image, which JPEG keeps."""
    data = Dataset.load(out)
    items = [item for part in ("training", "validation", "test") for item in data.content[part]]
    return {
        int(open_array(data.root / i["image"])[0, 0]): (i, np.array(open_array(data.root / i["label"]))) for i in items
    }


def box_of(value: int) -> np.ndarray:
    label = np.zeros(SHAPE, np.uint8)
    label[10:30, 4:10] = value
    return label


QUIET = ImportOptions(progress=False)


def run(release: Release, out: Path, common: ImportOptions = QUIET, **options: Any) -> Summary:
    return import_cdd_cesm(release.write(), out, common, **options)


def test_malignant_outlines_are_tumor_and_the_rest_is_background(release: Release, tmp_path: Path) -> None:
    summary = run(release, tmp_path / "out")
    assert (summary.images, summary.subjects, summary.labels) == (3, 3, ["background", "tumor"])
    found = labels(tmp_path / "out")
    assert np.array_equal(found[10][1], box_of(1))
    assert not found[30][1].any()
    assert not found[40][1].any()
    item = found[10][0]
    assert (item["laterality"], item["view"]) == ("L", "MLO")
    assert item["attributes"] == {
        "energy": "low", "pathology": "malignant", "density": "C", "birads": "4", "age": "40-49", "findings": "mass",
        "machine": "1",
    }  # fmt: skip
    data = Dataset.load(tmp_path / "out")
    assert data.ignore_label is None
    assert data.content["licence"] == "CC BY 4.0"
    assert "10.7937/29kw-ae92" in data.content["reference"]
    text = (tmp_path / "out" / "dataset.json").read_text(encoding="utf-8")
    assert "P1" not in text  # neither the release's names nor its numbers of women
    assert "46" not in [*item["attributes"].values()]


@pytest.mark.parametrize(("energy", "values"), [("low", [10, 30, 40]), ("subtracted", [20, 60]), ("both", None)])
def test_energies(release: Release, tmp_path: Path, energy: str, values: list[int] | None) -> None:
    release.image("P4_L_DM_CC", "Malignant", BOX)
    release.image("P4_L_CM_CC", "Malignant", BOX)
    values = [*values, 50] if values and energy == "low" else values
    run(release, tmp_path / "out", energy=energy)
    assert sorted(labels(tmp_path / "out")) == (values or [10, 20, 30, 40, 50, 60])


def test_both_images_of_a_breast_are_on_one_side_of_the_split(tmp_path: Path) -> None:
    made = Release(tmp_path)
    for woman in range(1, 13):
        for kind in ("DM", "CM"):
            made.image(f"P{woman}_L_{kind}_CC", "Malignant", BOX)
    summary = run(made, tmp_path / "out", energy="both")
    assert (summary.images, summary.subjects) == (24, 12)
    data = Dataset.load(tmp_path / "out")
    sides = [{item["subject"] for item in data.items(part)} for part in ("training", "validation")]
    assert sides[0].isdisjoint(sides[1])
    assert [len(side) for side in sides] == [8, 4]
    with pytest.raises(UserError, match="--energy both with --split_by image"):
        run(made, tmp_path / "other", replace(QUIET, split_by="image"), energy="both")


@pytest.mark.parametrize(("benign", "value"), [("background", 0), ("tumor", 1), ("ignore", 255)])
def test_benign_outlines(release: Release, tmp_path: Path, benign: str, value: int) -> None:
    run(release, tmp_path / "out", benign=benign)
    assert np.array_equal(labels(tmp_path / "out")[30][1], box_of(value))
    assert Dataset.load(tmp_path / "out").ignore_label == (255 if benign == "ignore" else None)


@pytest.mark.parametrize(
    ("tags", "value"),
    [("malignant mass, speculated", 1), ("malignant mass, edema", 255), ("edema", 255), ("malignant", 255)],
)
def test_findings_that_do_not_count_are_ignored_pixels(release: Release, tmp_path: Path, tags: str, value: int) -> None:
    gray = release.image("P5_L_DM_CC", "Malignant", BOX, tags=tags)
    summary = run(release, tmp_path / "out", findings=["mass"])
    assert np.array_equal(labels(tmp_path / "out")[gray][1], box_of(value))
    note = "1 malignant images have outlines that do not count: they are ignored pixels"
    assert (note in summary.notes) == (value == 255)


def test_what_contradicts_itself_is_left_out_or_ignored(release: Release, tmp_path: Path) -> None:
    outlined_normal = release.image("P6_L_DM_CC", "Normal", BOX, tags="normal")
    release.image("P7_L_DM_CC", "Malignant", tags="normal")
    release.image("P8_L_DM_CC", "", BOX)
    summary = run(release, tmp_path / "out")
    found = labels(tmp_path / "out")
    assert sorted(found) == [10, 30, 40, outlined_normal]
    assert np.array_equal(found[outlined_normal][1], box_of(255))
    for note in (
        "1 malignant images have no outline, and were left out",
        "1 images have no row with a pathology in the annotations, and were left out",
        "1 images are outlined, but called normal: their outlines are ignored pixels",
        "1 benign images have outlines that do not count: they are background",
    ):
        assert note in summary.notes


def test_names_are_joined_by_what_they_mean(release: Release, tmp_path: Path) -> None:
    first = release.image("P9_L_DM_MLO", "Malignant", BOX, spelling=" P9_L_DM_MLO ")
    second = release.image("P9_L_DM_MLO2", "Malignant", BOX, spelling="P9_L_DM_MLO_2")
    run(release, tmp_path / "out")
    found = labels(tmp_path / "out")
    assert found[first][0]["subject"] == found[second][0]["subject"]
    assert found[second][0]["view"] == "MLO"
    assert np.array_equal(found[second][1], box_of(1))


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("P1_L_DM_MLO", ImageId("P1", "L", "low", "MLO")),
        (" p012_r_cm_cc .JPG ", ImageId("P12", "R", "subtracted", "CC")),
        ("P281_L_DM_MLO2.jpg", ImageId("P281", "L", "low", "MLO", 2)),
        ("P99_L_CM_MLO_2", ImageId("P99", "L", "subtracted", "MLO", 2)),
        ("P1_L_MLO", None),
        ("mask_P1_L_DM_MLO", None),
    ],
)
def test_image_names(name: str, meaning: ImageId | None) -> None:
    assert ImageId.parse(name) == meaning


def test_a_damaged_outline_is_an_error(release: Release, tmp_path: Path) -> None:
    release.regions.append(["P1_L_DM_MLO.jpg", "1", "{}", "1", "0", '{"name":"star"}', "{}"])
    with pytest.raises(UserError, match=r"segmentations_v2.csv: row 5: an outline cannot be read: its shape is 'star'"):
        run(release, tmp_path / "out")


def test_outlines_that_would_take_minutes_are_an_error(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.importers.sources.via_outlines.DRAWN", 3 * 20 * 20)
    shape = json.dumps({"name": "circle", "cx": 10, "cy": 10, "r": 10})
    release.regions += [["P1_L_DM_MLO.jpg", "9" * 5000, "{}", "1", "0", shape, "{}"]] * 4
    with pytest.raises(UserError, match=r"MLO\.jpg: its 4 ellipses cover 1600 pixels; expected at most 1200"):
        run(release, tmp_path / "out")


def row(tags: str, findings: str = "", **cells: str) -> Row:
    return Row(pathology="malignant", findings=findings, tags=tags, **cells)


@pytest.mark.parametrize(
    ("tags", "findings", "names"),
    [
        ("malignant mass, speculated, edema", "High density mass with edema pattern", ["mass", "edema"]),
        ("malignant non mass, regional", "Regional non mass enhancement", ["non-mass"]),
        ("normal", "No mass or non mass enhancement", []),
        ("normal", "Normal", []),
        ("suspicious, recurrence", "Postoperative scar and high density mass", ["mass", "postoperative"]),
        ("suspicius architectural distortion", "Architectural distorton", ["distortion"]),
        ("focal asymmetry, benign nodule", "assymetrical density$Benign macrocalcificaion",
         ["mass", "asymmetry", "calcification"]),
        ("suspicious mass, indistinct, IMLN", "", ["mass", "lymph node"]),
        ("adenosis", "Adenosis", ["other"]),
    ],
)  # fmt: skip
def test_named_findings(tags: str, findings: str, names: list[str]) -> None:
    assert list(named_findings(row(tags, findings))) == names


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"age": "39"}, {"age": "under 40"}),
        ({"age": "40"}, {"age": "40-49"}),
        ({"age": "69.0"}, {"age": "60-69"}),
        ({"age": "70"}, {"age": "70 or older"}),
        ({"age": "1980-01-02"}, {}),
        ({"density": "b"}, {"density": "B"}),
        ({"density": "_"}, {}),
        ({"birads": "5$2"}, {"birads": "5"}),
        ({"birads": "seen by Dr. A"}, {}),
        ({"machine": "at home"}, {}),
    ],
)
def test_attributes_are_bands_and_known_words_only(cells: dict[str, str], expected: dict[str, str]) -> None:
    always = {"energy": "low", "pathology": "malignant", "findings": "mass"}
    assert attributes(ImageId("P1", "L", "low", "CC"), row("mass", "Mrs X", **cells)) == always | expected


def test_crops_keep_the_attributes(release: Release, tmp_path: Path) -> None:
    run(release, tmp_path / "out")
    assert main(["crops", str(tmp_path / "out"), str(tmp_path / "c"), "--crop_size", "8", "--quiet"]) == 0
    content = json.loads((tmp_path / "c" / "dataset.json").read_text(encoding="utf-8"))
    assert all(item["attributes"]["energy"] == "low" for item in content["training"] + content["validation"])


def test_semicolons_and_other_spellings_of_the_table(release: Release, tmp_path: Path) -> None:
    root = release.write(";", "Radiology manual annotations.csv")
    assert import_cdd_cesm(root, tmp_path / "out", ImportOptions(progress=False)).images == 3


def test_a_workbook_without_openpyxl(release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    root = release.write()
    (root / "Radiology-manual-annotations.xlsx").write_bytes(b"PK")
    assert read_tables(root).rows  # the CSV file is enough
    (root / "Radiology-manual-annotations.csv").unlink()
    with pytest.raises(
        UserError, match=r"needs openpyxl, which is not installed; install it .* or save the sheet 'all'"
    ):
        read_tables(root)


def test_a_workbook_is_read_from_its_sheet_all(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """openpyxl is optional and need not be there: what it gives is imitated."""
    root = release.write()
    expected = read_tables(root)
    cells: list[list[Any]] = [list(HEADER), *[[*row[:4], float(row[4]), *row[5:]] for row in release.rows], [None] * 12]
    sheets = [
        types.SimpleNamespace(title=title, iter_rows=lambda rows=rows, **_: iter(rows))
        for title, rows in (("mass", [["something else"]]), ("All", cells))
    ]
    book = types.SimpleNamespace(worksheets=sheets, close=lambda: None)
    monkeypatch.setitem(sys.modules, "openpyxl", types.SimpleNamespace(load_workbook=lambda path, **kinds: book))
    (root / "Radiology-manual-annotations.csv").unlink()
    with zipfile.ZipFile(root / "Radiology-manual-annotations.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    assert read_tables(root).rows == expected.rows


def test_a_workbook_that_breaks_off_or_unpacks_to_gigabytes(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(**_: Any) -> Any:
        yield list(HEADER)
        raise SyntaxError("no XML")  # as openpyxl does while it reads

    root = release.write()
    (root / "Radiology-manual-annotations.csv").unlink()
    book = types.SimpleNamespace(worksheets=[types.SimpleNamespace(title="all", iter_rows=rows)], close=lambda: None)
    monkeypatch.setitem(sys.modules, "openpyxl", types.SimpleNamespace(load_workbook=lambda path, **kinds: book))
    for content, kind in ((b"<workbook/>", "SyntaxError"), (bytes(2**27), "ValueError")):
        with zipfile.ZipFile(root / "Radiology-manual-annotations.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/workbook.xml", content)
        with pytest.raises(UserError, match=rf"annotations\.xlsx: not a workbook that can be read \({kind}\)"):
            read_tables(root)


def test_a_resized_copy_is_left_out(release: Release, tmp_path: Path) -> None:
    release.image("P5_L_DM_CC", "Malignant", {**BOX, "height": 31})  # to row 41 of 40: as the radiologist drew it
    release.image("P6_L_DM_CC", "Malignant", BOX, shape=(20, 15))
    summary = run(release, tmp_path / "out")
    assert summary.images == 4
    assert len(summary.rejected) == 1
    assert "20 x 15 (rows x columns), but its outlines reach to row 30, column 10" in summary.rejected[0][1]


def test_files_of_another_size_than_the_outlined_ones_are_counted(release: Release, tmp_path: Path) -> None:
    release.regions[0][1] = "939216"
    assert any("not those that the outlines were drawn on" in note for note in run(release, tmp_path / "out").notes)


def test_tables_elsewhere_and_contradictions(release: Release, tmp_path: Path) -> None:
    release.rows[0][1] = "77"
    root = release.write()
    tables = tmp_path / "tables"
    tables.mkdir()
    for path in root.glob("*.csv"):
        path.rename(tables / path.name)
    with pytest.raises(UserError, match=r"no table Radiology-manual-annotations.csv or .xlsx .* --tables"):
        import_cdd_cesm(root, tmp_path / "out", ImportOptions(progress=False))
    assert main(["cdd-cesm", str(root), str(tmp_path / "out"), "--tables", str(tables), "--quiet"]) == 0
    summary = import_cdd_cesm(root, tmp_path / "out2", ImportOptions(progress=False), tables=tables)
    assert "1 rows state another woman, side or view than the name of their image, which was used" in summary.notes
    older = tables / "Radiology_hand_drawn_segmentations.csv"
    older.write_text("damaged", encoding="utf-8")
    assert read_tables(tables).outlines  # version 2 is there as well
    (tables / "copy").mkdir()
    (tables / "copy" / "Radiology-manual-annotations.csv").write_text("other", encoding="utf-8")
    with pytest.raises(UserError, match="differs from"):
        read_tables(tables)


def test_wrong_tables_and_options(release: Release, tmp_path: Path) -> None:
    root = release.write()
    for options, message in (
        ({"energy": "high"}, "--energy is 'high'; expected low, subtracted, both"),
        ({"benign": "mass"}, "--benign is 'mass'; expected background, tumor, ignore"),
        ({"findings": ["masses"]}, "--findings: unknown finding 'masses'; choose from all, mass, non-mass"),
    ):
        with pytest.raises(UserError, match=message):
            import_cdd_cesm(root, tmp_path / "out", ImportOptions(progress=False), **options)
    release.rows.append([*release.rows[0][:-1], "Benign"])
    with pytest.raises(UserError, match="row 6: 'P1_L_DM_MLO' is repeated with different content"):
        run(release, tmp_path / "out")
    (root / "Radiology-manual-annotations.csv").write_text("Image_name,Tags\n", encoding="utf-8")
    with pytest.raises(
        UserError, match="has no column findings, pathology classification/ follow up; found image name"
    ):
        import_cdd_cesm(root, tmp_path / "out", ImportOptions(progress=False))


def test_no_image_and_the_same_image_twice(release: Release, tmp_path: Path) -> None:
    root = release.write()
    with pytest.raises(UserError, match=r"no image .* of --energy subtracted among 3 files \(3 of the other energy\)"):
        import_cdd_cesm(
            root / "CDD-CESM" / "Low energy images of CDD-CESM", tmp_path / "out", tables=root, energy="subtracted"
        )
    low = root / "CDD-CESM" / "Low energy images of CDD-CESM"
    (low / "P1_L_DM_MLO .jpg").write_bytes((low / "P1_L_DM_MLO.jpg").read_bytes())
    with pytest.raises(UserError, match="is the same image of the release; remove one of the two"):
        import_cdd_cesm(root, tmp_path / "out", ImportOptions(progress=False))


def test_an_interrupted_import_and_several_processes_give_the_same(release: Release, tmp_path: Path) -> None:
    run(release, tmp_path / "one", replace(QUIET, name="x"), energy="both")
    run(release, tmp_path / "two", replace(QUIET, name="x", workers=2), energy="both")
    texts = [(tmp_path / name / "dataset.json").read_text(encoding="utf-8") for name in ("one", "two")]
    assert texts[0] == texts[1]
