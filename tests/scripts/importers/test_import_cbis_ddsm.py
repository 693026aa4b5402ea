"""CBIS-DDSM: the archive's two layouts and the tables' defects become the label maps worked out by hand."""

from __future__ import annotations

import csv
import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_factory import write_dicom

from scripts.importers.import_options import ImportOptions
from scripts.importers.sources import cbis_ddsm
from scripts.importers.sources.cbis_ddsm import import_cbis_ddsm
from scripts.importers.sources.cbis_ddsm_files import check_size, read_mask, resized
from scripts.importers.sources.cbis_ddsm_tables import TABLES, read_tables
from scripts.prepare import main
from transforms.dataset import Dataset, open_array
from transforms.errors import UserError

SHAPE = (40, 24)
ROOT_UID = "1.3.6.1.4.1.9590.100.1.2"
SCAN: dict[str, Any] = {  # as the archive's own headers: no mammography attributes, and the view in PatientOrientation
    "PresentationIntentType": None,
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7",
    "BitsStored": 16,
    "HighBit": 15,
}


def scan(number: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    pixels = np.arange(shape[0] * shape[1], dtype=np.uint16).reshape(shape) * 40
    pixels[0, 0] = number
    return pixels


def box(top: int, bottom: int, left: int, right: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[top:bottom, left:right] = 255
    return mask


class Archive:
    """A download in the making: DICOM files in the archive's folders, and rows of the four tables."""

    def __init__(self, root: Path, layout: str = "uids") -> None:
        self.root, self.layout = root, layout
        self.rows: dict[str, list[list[str]]] = {name: [] for name in TABLES}
        self.uid = 0

    def file(self, patient_id: str, series: str, name: str, pixels: np.ndarray, **attributes: Any) -> Path:
        if self.layout == "uids":
            path = self.root / "CBIS-DDSM" / patient_id / f"{ROOT_UID}.{self.uid}" / f"{ROOT_UID}.{series}" / name
        else:
            folders = ("08-07-2016-DDSM-NA-30331", f"1.000000-{series}-24515")
            path = self.root / "CBIS-DDSM" / patient_id / folders[0] / folders[1] / name
        self.uid += 1
        bits = 8 * pixels.dtype.itemsize
        stored = {**SCAN, "BitsStored": bits, "HighBit": bits - 1, "PatientID": patient_id}
        return write_dicom(path, pixels, bits, **{**stored, **attributes})

    def image(self, image_id: str, number: int, shape: tuple[int, int] = SHAPE) -> Path:
        view = image_id.rsplit("_", 1)[1]
        side = "L" if "_LEFT_" in image_id else "R"
        attributes = {"Laterality": side, "PatientOrientation": view, "SeriesDescription": "full mammogram images"}
        return self.file(image_id, "full mammogram images", "1-1.dcm", scan(number, shape), **attributes)

    def region(
        self, image_id: str, number: int, mask: np.ndarray, swapped: bool = False, described: bool = True
    ) -> None:
        """Mask and crop in one series, and their row; in half of the real rows the names are exchanged."""
        region_id, names = f"{image_id}_{number}", ("1-2.dcm", "1-1.dcm") if swapped else ("1-1.dcm", "1-2.dcm")
        words = ("ROI mask images", "cropped images") if described else ("", "")
        self.file(region_id, "ROI mask images", names[0], mask, SeriesDescription=words[0])
        self.file(region_id, "ROI mask images", names[1], scan(7, (9, 11)), SeriesDescription=words[1])
        self.row(image_id, number)

    def row(self, image_id: str, number: int) -> None:
        kind, part = image_id.split("_")[0].split("-")
        patient, side, view = image_id.split("_", 1)[1].rsplit("_", 2)
        word = {"Mass": "mass", "Calc": "calcification"}[kind]
        paths = [f"{image_id}/{ROOT_UID}.1/{ROOT_UID}.2/000000.dcm"]
        paths += [f"{image_id}_{number}/{ROOT_UID}.3/{ROOT_UID}.4/00000{k}.dcm" for k in (0, 1)]
        cells = [patient, "3", side, view, str(number), word, "OVAL", "N/A", "4", "MALIGNANT", "4", *paths]
        cells[-1 if kind == "Mass" else -2] += "\n"  # the published tables have it inside the quotes
        self.rows[f"{kind.lower()}_case_description_{ {'Training': 'train', 'Test': 'test'}[part] }_set.csv"].append(
            cells
        )

    def tables(self, folder: Path | None = None) -> Path:
        folder = self.root if folder is None else folder
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in self.rows.items():
            density = "breast_density" if name.startswith("mass") else "breast density"
            words = ("mass shape", "mass margins") if name.startswith("mass") else ("calc type", "calc distribution")
            header = ["patient_id", density, "left or right breast", "image view", "abnormality id"]
            header += ["abnormality type", *words, "assessment", "pathology", "subtlety", "image file path"]
            header += ["cropped image file path", "ROI mask file path"]
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([header, *rows])
            (folder / name).write_text("\ufeff" + text.getvalue(), encoding="utf-8")
        return folder


def write_archive(root: Path, layout: str = "uids") -> Archive:
    archive = Archive(root, layout)
    for number, image_id in enumerate(
        ("Mass-Training_P_00001_LEFT_CC", "Mass-Training_P_00002_RIGHT_MLO", "Mass-Test_P_00003_LEFT_MLO"), start=1
    ):
        archive.image(image_id, number)
    archive.region("Mass-Training_P_00001_LEFT_CC", 1, box(2, 10, 3, 9))
    archive.region("Mass-Training_P_00001_LEFT_CC", 2, box(8, 20, 8, 12), swapped=True)
    archive.region("Mass-Training_P_00002_RIGHT_MLO", 1, box(5, 6, 0, 24))
    archive.region("Mass-Test_P_00003_LEFT_MLO", 1, box(30, 40, 20, 24))
    # the first view again, with calcifications
    archive.image("Calc-Training_P_00001_LEFT_CC", 1)
    archive.region("Calc-Training_P_00001_LEFT_CC", 1, box(0, 4, 0, 24), described=False)
    archive.tables()
    return archive


def by_number(out: Path, section: str) -> dict[int, tuple[dict, np.ndarray]]:
    items = Dataset.load(out).items(section)
    return {int(open_array(item["image"])[0, 0]): (item, np.array(open_array(item["label"]))) for item in items}


def first_label() -> np.ndarray:
    """Both masses of the first view, over its calcifications: Table 7 ranks the tumor highest."""
    label = np.zeros(SHAPE, np.uint8)
    label[:4] = 2
    label[2:10, 3:9] = 1
    label[8:20, 8:12] = 1
    return label


@pytest.mark.parametrize("layout", ["uids", "descriptions"])
def test_both_layouts(tmp_path, layout) -> None:
    write_archive(tmp_path / "in", layout)
    summary = import_cbis_ddsm(tmp_path / "in", tmp_path / "out")
    assert summary.sections == {"training": 1, "validation": 1, "test": 1}
    assert summary.subjects == 3
    assert summary.rejected == []
    found = {**by_number(tmp_path / "out", "training"), **by_number(tmp_path / "out", "validation")}
    np.testing.assert_array_equal(found[1][1], first_label())
    np.testing.assert_array_equal(found[2][1], box(5, 6, 0, 24) // 255)
    np.testing.assert_array_equal(open_array(found[2][0]["image"]), scan(2))
    assert (found[2][0]["laterality"], found[2][0]["view"], found[2][0]["intensity_range"]) == ("R", "MLO", [0, 65535])
    known = {"acquisition": "film", "density": "3", "birads": "4", "pathology": "malignant"}
    items = Dataset.load(tmp_path / "out").content
    assert all(known.items() <= item["attributes"].items() for item in [*items["training"], *items["test"]])
    test = by_number(tmp_path / "out", "test")
    np.testing.assert_array_equal(test[3][1], box(30, 40, 20, 24) // 255)
    assert Dataset.load(tmp_path / "out").class_names == ["background", "mass", "calcification"]
    assert summary.overlaps == {"mass over calcification": 12}
    assert "the tables list 3 images of 3 patients with 5 regions: 2 of training, 1 of test" in summary.notes


def test_the_task_tumor_is_the_masses_and_needs_no_calcifications(tmp_path) -> None:
    archive = write_archive(tmp_path / "in")
    for path in (archive.root / "CBIS-DDSM" / "Calc-Training_P_00001_LEFT_CC_1").rglob("*.dcm"):
        path.unlink()
    summary = import_cbis_ddsm(tmp_path / "in", tmp_path / "tumor", task="tumor")
    assert summary.images == 3
    found = {**by_number(tmp_path / "tumor", "training"), **by_number(tmp_path / "tumor", "validation")}
    np.testing.assert_array_equal(found[1][1], (first_label() == 1).astype(np.uint8))


def test_a_patient_of_both_sections_is_in_training(tmp_path) -> None:
    archive = write_archive(tmp_path / "in")
    archive.image("Calc-Test_P_00002_LEFT_CC", 9)
    archive.region("Calc-Test_P_00002_LEFT_CC", 1, box(0, 2, 0, 2))
    archive.tables()
    summary = import_cbis_ddsm(tmp_path / "in", tmp_path / "out")
    assert summary.sections["test"] == 1
    assert sorted(by_number(tmp_path / "out", "test")) == [3]
    assert (
        "1 patients are in training of one table and in test of another; all their images (2 in the tables) are in "
        "training" in summary.notes
    )
    drawn = import_cbis_ddsm(tmp_path / "in", tmp_path / "two", ImportOptions(validation=0.4), split="drawn")
    assert drawn.sections["test"] == 0
    with pytest.raises(UserError, match="--split is 'x'; expected official or drawn"):
        import_cbis_ddsm(tmp_path / "in", tmp_path / "three", split="x")


def test_a_partial_download_is_counted_and_left_out(tmp_path) -> None:
    archive = write_archive(tmp_path / "in")
    archive.row("Mass-Training_P_00004_LEFT_CC", 1)
    archive.row("Mass-Training_P_00002_RIGHT_MLO", 2)
    archive.image("Mass-Training_P_00005_LEFT_CC", 5)
    archive.region("Mass-Training_P_00005_LEFT_CC", 1, box(0, 2, 0, 2))
    archive.rows["calc_case_description_test_set.csv"] = []
    folder = archive.tables(tmp_path / "tables of mine")
    (folder / "calc_case_description_test_set.csv").unlink()
    for path in (tmp_path / "in").glob("*.csv"):
        path.unlink()
    summary = import_cbis_ddsm(tmp_path / "in", tmp_path / "out", tables=folder)
    assert summary.images == 3
    notes = "\n".join(summary.notes)
    assert "1 images of the tables have no file here" in notes
    assert "1 images have no file of a region's mask here, and were left out" in notes
    assert "without the table calc_case_description_test_set.csv" in notes


def test_nothing_that_the_tables_name_is_there(tmp_path) -> None:
    archive = Archive(tmp_path / "in")
    archive.row("Mass-Training_P_00001_LEFT_CC", 1)
    archive.tables()
    archive.file("Mass-Training_P_00077_LEFT_CC", "x", "1-1.dcm", scan(1))
    with pytest.raises(UserError, match=r"none of the 1 images of the tables .* Mass-Training_P_00001_LEFT_CC and"):
        import_cbis_ddsm(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match=r"no tables; looked in it and below it for mass_case_description_train_set"):
        import_cbis_ddsm(tmp_path / "in" / "CBIS-DDSM", tmp_path / "out")


def test_folders_without_the_patients_are_told_by_their_headers(tmp_path) -> None:
    archive = write_archive(tmp_path / "in")
    for number, path in enumerate(sorted((tmp_path / "in").rglob("*.dcm"))):
        (tmp_path / "flat" / f"{number:03d}").mkdir(parents=True)
        path.rename(tmp_path / "flat" / f"{number:03d}" / "1-1.dcm")
    summary = import_cbis_ddsm(tmp_path / "flat", tmp_path / "out", tables=archive.root)
    assert summary.images == 3


def test_masks_of_another_size(tmp_path) -> None:
    """Within 0.5 % of the aspect: resized and counted; beyond: the image is left out with both sizes."""
    archive = write_archive(tmp_path / "in")
    archive.image("Mass-Training_P_00005_RIGHT_CC", 5)
    archive.region("Mass-Training_P_00005_RIGHT_CC", 1, box(20, 40, 10, 48, (80, 48)))
    archive.image("Mass-Training_P_00006_RIGHT_CC", 6)
    archive.region("Mass-Training_P_00006_RIGHT_CC", 1, box(2, 4, 1, 5, (40, 25)))
    archive.tables()
    summary = import_cbis_ddsm(tmp_path / "in", tmp_path / "out")
    assert summary.images == 4
    found = {**by_number(tmp_path / "out", "training"), **by_number(tmp_path / "out", "validation")}
    np.testing.assert_array_equal(found[5][1], box(10, 20, 5, 24) // 255)
    assert "1 masks of another size than their image, and of its aspect, were resized to it" in summary.notes
    ((path, reason),) = summary.rejected
    assert "Mass-Training_P_00006_RIGHT_CC" in str(path)
    assert "Mass-Training_P_00006_RIGHT_CC_1: its mask is 40 x 25, its image 40 x 24 (rows x columns)" in reason
    with pytest.raises(UserError, match="of another aspect"):
        import_cbis_ddsm(tmp_path / "in", tmp_path / "two", ImportOptions(strict=True))


@pytest.mark.parametrize(
    ("mask", "image", "fits"),
    [
        ((4688, 3088), (4624, 3056), True),  # Calc-Test_P_00353_LEFT_CC: 0.33 %
        ((4624, 3080), (4640, 3072), False),  # Calc-Test_P_00353_LEFT_MLO: 0.60 %
        ((4386, 1789), (5041, 2056), True),  # Mass-Test_P_00145_LEFT_CC: 0.01 %
        ((4686, 2820), (5386, 3241), True),  # Mass-Test_P_00379_LEFT_MLO: 0.01 %
        ((40, 24), (40, 24), True),
    ],
)
def test_sizes_that_users_have_reported(mask, image, fits) -> None:
    if fits:
        check_size("x", mask, image)
    else:
        with pytest.raises(UserError, match=f"its mask is {mask[0]} x {mask[1]}, its image {image[0]} x {image[1]}"):
            check_size("x", mask, image)


def test_resizing_takes_the_nearest_pixel() -> None:
    mask = np.array([[1, 0, 0], [0, 0, 1]], bool)
    assert resized(mask, (4, 6)).astype(int).tolist() == [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 1],
        [0, 0, 0, 0, 1, 1],
    ]
    assert resized(resized(mask, (4, 6)), (2, 3)).tolist() == mask.tolist()
    assert resized(mask, (2, 3)) is mask


@pytest.mark.parametrize(
    "words",
    [
        ("ROI mask images", "cropped images"),
        ("cropped images", "ROI mask images"),  # exchanged
        ("ROI mask images", "ROI mask images"),  # as the folders of shared series say
        ("", ""),
        ("Unknown", "cropped images"),
    ],
)
@pytest.mark.parametrize("order", [0, 1])
def test_mask_and_crop_are_told_apart(tmp_path, words, order) -> None:
    mask, crop = box(3, 9, 4, 6), scan(3, (9, 11))
    files = [
        write_dicom(tmp_path / "1-1.dcm", mask, 8, SeriesDescription=words[0]),
        write_dicom(tmp_path / "1-2.dcm", crop, 16, SeriesDescription=words[1]),
    ]
    found = read_mask("Mass-Training_P_00001_LEFT_CC_1", files[::-1] if order else files, SHAPE)
    np.testing.assert_array_equal(found, mask > 0)


def test_a_crop_with_two_values_is_not_the_mask_and_without_a_mask_the_image_is_left_out(tmp_path) -> None:
    crop = write_dicom(tmp_path / "a.dcm", np.full((5, 9), 3, np.uint16), 16)
    mask = write_dicom(tmp_path / "b.dcm", box(3, 9, 4, 6), 8)
    np.testing.assert_array_equal(read_mask("x", [crop, mask], SHAPE), box(3, 9, 4, 6) > 0)
    archive = write_archive(tmp_path / "in")
    next((archive.root / "CBIS-DDSM" / "Mass-Training_P_00001_LEFT_CC_1").rglob("1-1.dcm")).unlink()
    archive.image("Mass-Training_P_00005_RIGHT_CC", 5)
    archive.region("Mass-Training_P_00005_RIGHT_CC", 1, box(2, 4, 1, 5))
    archive.tables()
    summary = import_cbis_ddsm(tmp_path / "in", tmp_path / "out")
    assert summary.images == 3
    ((_, reason),) = summary.rejected
    assert "Mass-Training_P_00001_LEFT_CC_1: none of its files is a mask: found 1-2.dcm of 9 x 11 with values" in reason
    assert "expected one file with two values, of the image's size 40 x 24" in reason


HEADER = "patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no column patient id, .*; found nothing"),
        (HEADER.replace(",", ";"), "has no column patient id"),
        (HEADER + "P_1,3,LEFT,CC,1,mass\n", r"line 2: patient id is 'P_1'; expected P_"),
        (HEADER + 'P_00001,3,LEFT,CC,1,"mass\n"\nP_00002,3,UP,CC,1,mass\n', "line 4: left or right breast is 'UP'"),
        (HEADER + "P_00001,3,LEFT,CC,1\n", "abnormality type is ''; expected mass or calcification"),
        (HEADER + "P_00001,3,LEFT,CC,\x80,mass\n", "not a CSV table .UnicodeDecodeError"),
        (HEADER + '"' + "x" * 140000 + "\n", "not a CSV table .Error"),
    ],
)
def test_broken_tables_are_named(tmp_path, text, reason) -> None:
    (tmp_path / TABLES[0]).write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=reason) as refusal:
        read_tables(tmp_path)
    assert TABLES[0] in str(refusal.value)


def test_defects_of_the_cells(tmp_path) -> None:
    """A byte order mark, quotes, spaces and line breaks in cells, empty lines, and the same row twice."""
    text = "\ufeff" + HEADER + '"P_00001\n",3, LEFT ,"CC",1,"mass\n"\n\n,,,,,\nP_00001,3,LEFT,CC,1,mass\n'
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / TABLES[1]).write_text(text, encoding="utf-8")
    (region,), absent = read_tables(tmp_path)
    assert region.region_id == "Mass-Test_P_00001_LEFT_CC_1"
    assert absent == [TABLES[0], *TABLES[2:]]


def test_no_name_reaches_the_output(tmp_path) -> None:
    archive = write_archive(tmp_path / "Planted Name", "descriptions")
    for path in archive.root.glob("*.csv"):
        path.write_text(path.read_text(encoding="utf-8").replace("MALIGNANT", "Planted Name"), encoding="utf-8")
    import_cbis_ddsm(archive.root, tmp_path / "out")
    for path in (tmp_path / "out").rglob("*"):
        assert "lanted" not in path.name
        if path.is_file():
            content = path.read_bytes()
            for planted in (b"lanted", b"PLANTED", b"P_0000", ROOT_UID.encode(), b"1.2.826"):
                assert planted not in content


def test_the_command(tmp_path, capsys) -> None:
    archive = write_archive(tmp_path / "in")
    tables = archive.tables(tmp_path / "csv")
    argv = ["cbis-ddsm", str(tmp_path / "in" / "CBIS-DDSM"), str(tmp_path / "out"), "--tables", str(tables)]
    assert main([*argv, "--dry_run"]) == 0
    assert "training 1, validation 1, test 1" in capsys.readouterr().out
    assert main([*argv, "--precedence", "calcifications", "--smooth", "0.5", "--workers", "2", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["overlaps"] == {"calcification over mass": 12}
    assert main(["cbis-ddsm", str(tmp_path), str(tmp_path / "two"), "--tables", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: no tables; looked in it" in capsys.readouterr().err


def test_cases_can_be_read_in_another_process(tmp_path, monkeypatch) -> None:
    """Cases pickle, and what their labels count stays with them."""
    write_archive(tmp_path / "in")
    taken = []
    monkeypatch.setattr(cbis_ddsm, "write_dataset", lambda out, cases, options, **more: taken.extend(cases) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        import_cbis_ddsm(tmp_path / "in", tmp_path / "out")
    copies = pickle.loads(pickle.dumps(taken))
    for case, copy in zip(taken, copies, strict=True):
        shape = case.read_image().pixels.shape
        np.testing.assert_array_equal(copy.read_label(shape), case.read_label(shape))
        assert copy.tally.overlaps == case.tally.overlaps


def test_tables_without_rows(tmp_path, capsys) -> None:
    archive = write_archive(tmp_path / "in")
    for rows in archive.rows.values():
        rows.clear()
    archive.tables()
    assert main(["cbis-ddsm", str(tmp_path / "in"), str(tmp_path / "out"), "--quiet"]) == 2
    assert "_set.csv: a table without rows; download it again" in capsys.readouterr().err
