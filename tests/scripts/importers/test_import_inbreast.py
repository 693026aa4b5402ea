"""INbreast: property lists as in the release, with their defects, become the label maps worked out by hand."""

from __future__ import annotations

import gzip
import json
import plistlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_factory import ramp, write_dicom

from scripts.importers.import_options import ImportOptions
from scripts.importers.sources.inbreast import CLASSES, import_inbreast
from scripts.importers.sources.inbreast_draw import draw_points, muscle_ring
from scripts.importers.sources.inbreast_xml import read_rois
from scripts.prepare import main
from transforms.dataset import Dataset, open_array
from transforms.errors import UserError

SHAPE = (40, 30)
ID = {name: label for label, name in enumerate(CLASSES)}
PERSONS = ("6c613a14b80a8591", "8d0b9620c53c0268", "036aff49b8ac84f0")


def roi(name: str | None, *points: tuple[float, float], separator: str = ", ", **changes: Any) -> dict[str, Any]:
    """A region as OsiriX exports it; Point_mm holds zeros in the release."""
    texts = [f"({x:.6f}{separator}{y:.6f})" for x, y in points]
    content = {
        "Area": 0.5,
        "Center": "(1.000000, 2.000000, 0.000000)",
        "Dev": 1.5,
        "IndexInImage": 0,
        "Max": 3103.0,
        "Mean": 2000.5,
        "Min": 1.0,
        "Name": name,
        "NumberOfPoints": len(points),
        "Point_mm": ["(0.000000, 0.000000, 0.000000)"] * len(points),
        "Point_px": texts,
        "Total": 9.0,
        "Type": 15 if len(points) > 2 else 19,
    }
    return {key: value for key, value in {**content, **changes}.items() if value is not None}


def box(name: str | None, left: float, top: float, right: float, bottom: float, **changes: Any) -> dict[str, Any]:
    """An outline of four points, not closed, as in the release."""
    return roi(name, (left, top), (right, top), (right, bottom), (left, bottom), **changes)


def images(*rois: dict[str, Any]) -> dict[str, Any]:
    return {"Images": [{"ImageIndex": 0, "NumberOfROIs": len(rois), "ROIs": list(rois)}]}


class Release:
    """The release in the making; images have numbers from 20586900 on."""

    def __init__(self, root: Path) -> None:
        self.root, self.count = root / "INbreast Release 1.0", 0

    def image(self, person: int, side: str, view: str, **attributes: Any) -> str:
        number = str(20586900 + self.count)
        path = self.root / "AllDICOMs" / f"{number}_{PERSONS[person]}_MG_{side}_{view}_ANON.dcm"
        write_dicom(path, ramp(SHAPE) + self.count, 12, **{"PatientID": "removed", **attributes})
        self.count += 1
        return number

    def findings(self, number: str, *rois: dict[str, Any]) -> Path:
        return self.xml(f"AllXML/{number}.xml", images(*rois))

    def muscle(self, number: str, content: dict[str, Any]) -> Path:
        return self.xml(f"PectoralMuscle/Pectoral Muscle XML/{number}_muscle.xml", content)

    def xml(self, name: str, content: Any) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else plistlib.dumps(content))
        return path


def labels(out: Path) -> dict[int, tuple[dict, np.ndarray]]:
    """Items and label maps by the number of the image."""
    dataset = Dataset.load(out)
    items = [item for part in ("training", "validation", "test") for item in dataset.items(part)]
    return {int(open_array(item["image"])[0, 0]): (item, np.array(open_array(item["label"]))) for item in items}


def area(label: str, top: int, bottom: int, left: int, right: int, onto: np.ndarray | None = None) -> np.ndarray:
    result = np.zeros(SHAPE, np.uint8) if onto is None else onto
    result[top:bottom, left:right] = ID[label]
    return result


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """Three images of two persons: findings in the first, the muscle in the second, and one that is normal."""
    made = Release(tmp_path / "in")
    made.findings(made.image(0, "L", "CC"), box("Mass", 4, 10, 9, 30, separator=","))
    made.muscle(made.image(0, "R", "ML"), images(roi("Pectoral Muscle", (20, 2), (28, 20), Type=10)))
    made.image(1, "L", "CC")
    return made


def test_x_is_the_column_and_the_shape_is_the_images(tmp_path, release) -> None:
    summary = import_inbreast(release.root, tmp_path / "out")
    assert (summary.images, summary.subjects) == (3, 2)
    assert summary.rejected == []
    found = labels(tmp_path / "out")
    np.testing.assert_array_equal(found[0][1], area("mass", 10, 30, 4, 9))
    assert not found[2][1].any()  # no file, no finding
    assert [found[k][0]["subject"] for k in range(3)] == ["s001", "s001", "s002"]
    assert (found[1][0]["view"], found[1][0]["laterality"]) == ("MLO", "R")  # ML in the name, MLO in the table
    assert (found[0][0]["view"], found[0][0]["laterality"]) == ("CC", "L")


def muscle_by_hand(side: str) -> np.ndarray:
    """Pixels right of the line from (20, 0) down to (20, 2), to (28, 20), and above y = 20; for L its mirror image."""
    label = np.zeros(SHAPE, np.uint8)
    for row in range(20):
        y = row + 0.5
        x = 20.0 if y < 2 else 20 + (y - 2) * 8 / 18
        for column in range(SHAPE[1]):
            if column + 0.5 > x:
                label[row, column] = ID["pectoral muscle"]
    return label if side == "R" else label[:, ::-1]


@pytest.mark.parametrize("side", ["L", "R"])
@pytest.mark.parametrize("form", ["region", "upwards", "list", "closed"])
def test_the_muscle_is_closed_through_the_corner(tmp_path, release, side, form) -> None:
    points = [(20.0, 2.0), (28.0, 20.0)] if side == "R" else [(10.0, 2.0), (2.0, 20.0)]
    if form == "closed":
        points = [tuple(point) for point in muscle_ring(np.array(points), side, SHAPE)]
        points.append((points[0][0], points[0][1] + 1.0))
    if form == "list":
        content: dict[str, Any] = {"ROIPoints": [f"{{{x:.1f}, {y:.1f}}}" for x, y in points]}
    else:
        order = points[::-1] if form == "upwards" else points
        content = images(roi("Pectoral Muscle", *order, Type=10))
    release.muscle(release.image(2, side, "ML"), content)
    import_inbreast(release.root, tmp_path / "out")
    np.testing.assert_array_equal(labels(tmp_path / "out")[3][1], muscle_by_hand(side))


def test_the_side_of_the_muscle_without_a_name_is_where_it_lies() -> None:
    line = np.array([(20.0, 2.0), (28.0, 20.0)])
    np.testing.assert_array_equal(muscle_ring(line, None, SHAPE), muscle_ring(line, "R", SHAPE))
    mirrored = line * (-1, 1) + (30, 0)
    np.testing.assert_array_equal(muscle_ring(mirrored, None, SHAPE), muscle_ring(mirrored, "L", SHAPE))


NAMES = {
    "Mass": "mass",
    "Calcification": "calcification",
    "Calcifications": "calcification",
    "Cluster": "calcification",
    "Distortion": "distortion",
    "Asymmetry": "asymmetry",
    "Assymetry": "asymmetry",
    "Spiculated Region": "spiculated region",
    "Spiculated region": "spiculated region",
    "Espiculated Region": "spiculated region",
    "Unnamed": "calcification",
    "Point 1": "calcification",
    "Point 3": "calcification",
    "NaN": "calcification",
    " ": "calcification",
}


@pytest.mark.parametrize("name", NAMES)
def test_every_name_in_the_release(tmp_path, release, name) -> None:
    release.findings(release.image(2, "R", "CC"), box(name, 20, 0, 30, 10))
    import_inbreast(release.root, tmp_path / "out")
    label = labels(tmp_path / "out")[3][1]
    assert (label[0:10, 20:30] == ID[NAMES[name]]).all()
    assert (label > 0).sum() == 100


def test_names_that_say_nothing_are_counted_and_can_be_merged(tmp_path, release) -> None:
    release.findings(release.image(2, "R", "CC"), roi(None, (5, 6)), roi("Point 1", (15, 6)))
    summary = import_inbreast(release.root, tmp_path / "out")
    assert "1 regions are named 'unnamed', and were taken as calcification" in summary.notes
    assert "1 regions are named 'point 1', and were taken as calcification" in summary.notes
    import_inbreast(release.root, tmp_path / "two", merge={"Unnamed": "background", "point 1": "mass"})
    label = labels(tmp_path / "two")[3][1]
    assert (label == ID["mass"]).sum() == 13
    assert (label > 0).sum() == 13


def test_unknown_names_are_listed_together_and_can_be_merged(tmp_path, release) -> None:
    number = release.image(2, "R", "CC")
    release.findings(number, box("Lymph node", 1, 1, 3, 3), box("Lymph Node", 4, 4, 6, 6), box("Skin fold", 7, 7, 9, 9))
    with pytest.raises(UserError, match=r"unknown names: lymph node \(2\), skin fold \(1\); known are") as refusal:
        import_inbreast(release.root, tmp_path / "out")
    for part in (f"{number}.xml", "--merge", "lymph node=background", "espiculated region"):
        assert part in str(refusal.value)
    merge = {"lymph node": "mass", "Skin_fold": "background"}
    import_inbreast(release.root, tmp_path / "out", merge=merge)
    assert (labels(tmp_path / "out")[3][1] == ID["mass"]).sum() == 8
    with pytest.raises(UserError, match="--merge: lymphnode is not among the classes"):
        import_inbreast(release.root, tmp_path / "two", merge={**merge, "lymphnode": "mass"})


def disk(column: int, row: int, radius: float) -> set[tuple[int, int]]:
    return {(i, j) for i in range(SHAPE[0]) for j in range(SHAPE[1]) if (i - row) ** 2 + (j - column) ** 2 <= radius**2}


@pytest.mark.parametrize(("radius", "count"), [(0.0, 1), (1.0, 5), (2.0, 13), (3.0, 29)])
def test_points_are_disks(tmp_path, release, radius, count) -> None:
    release.findings(release.image(2, "R", "CC"), roi("Calcification", (7.3, 21.9)), roi("Mass", (20, 9), (20, 30)))
    import_inbreast(release.root, tmp_path / "out", radius=radius)
    label = labels(tmp_path / "out")[3][1]
    found = set(zip(*np.nonzero(label == ID["calcification"]), strict=True))
    assert found == disk(7, 21, radius)
    assert len(found) == count
    assert set(zip(*np.nonzero(label == ID["mass"]), strict=True)) == disk(20, 9, radius) | disk(20, 30, radius)


def test_a_disk_at_the_border_is_cut() -> None:
    mask = np.zeros(SHAPE, bool)
    draw_points(np.array([(0.0, 0.0), (30.0, 40.0)]), 2.0, mask)
    assert set(zip(*np.nonzero(mask), strict=True)) == disk(0, 0, 2) | disk(29, 39, 2)


def test_the_smaller_region_lies_on_top_unless_a_precedence_is_stated(tmp_path, release) -> None:
    number = release.image(2, "R", "CC")
    release.findings(
        number,
        roi("Calcification", (15, 15)),
        box("Mass", 12, 12, 19, 19),
        box("Cluster", 10, 10, 22, 22),
        box("Spiculated Region", 8, 8, 25, 25),
    )
    release.muscle(number, images(roi("Pectoral Muscle", (5, 0), (5, 40))))
    expected = area("spiculated region", 8, 25, 8, 25, area("pectoral muscle", 0, 40, 5, 30))
    area("calcification", 10, 22, 10, 22, expected)
    area("mass", 12, 19, 12, 19, expected)
    for row, column in disk(15, 15, 2):
        expected[row, column] = ID["calcification"]
    summary = import_inbreast(release.root, tmp_path / "out")
    np.testing.assert_array_equal(labels(tmp_path / "out")[3][1], expected)
    assert summary.overlaps["mass over calcification"] == 49
    import_inbreast(release.root, tmp_path / "two", precedence=["spiculated region", "mass"])
    by_class = labels(tmp_path / "two")[3][1]
    assert (by_class == ID["spiculated region"]).sum() == 17 * 17
    import_inbreast(release.root, tmp_path / "three", merge={"cluster": "background"})
    hidden = labels(tmp_path / "three")[3][1]
    assert (hidden == ID["mass"]).sum() == 49 - 13
    assert (hidden == ID["spiculated region"]).sum() == 17 * 17 - 49


def test_the_task_tumor_is_the_masses(tmp_path, release) -> None:
    import_inbreast(release.root, tmp_path / "out", task="tumor")
    assert Dataset.load(tmp_path / "out").class_names == ["non-tumor", "tumor"]
    found = labels(tmp_path / "out")
    np.testing.assert_array_equal(found[0][1], area("mass", 10, 30, 4, 9) > 0)
    assert not found[1][1].any()


def test_defects_of_regions(tmp_path, release) -> None:
    number = release.image(2, "R", "CC")
    release.findings(
        number,
        box("Mass", 1, 1, 5, 5, NumberOfPoints=9),
        roi("Calcification"),
        box("Mass", -7, 30, 10, 90),
        roi("Calcification", (33, 12)),
        roi("Distortion", (15.1, 15.1), (15.3, 15.1), (15.2, 15.3)),
    )
    release.muscle(number, images(roi("Pectoral Muscle", (3, 3))))
    summary = import_inbreast(release.root, tmp_path / "out", radius=0.0)
    label = labels(tmp_path / "out")[3][1]
    expected = area("mass", 30, 40, 0, 10)
    expected[12, 29] = ID["calcification"]
    expected[15, 15] = ID["distortion"]
    np.testing.assert_array_equal(label, expected)
    for note in (
        "1 regions have another number of points than they state, and were skipped",
        "1 regions have no points, and were skipped",
        "2 regions have points outside their image, which were moved to its border",
        "1 outlines hold no pixel's center, and were drawn as the pixels of their points",
        "1 outlines of the muscle have one point, and were skipped",
    ):
        assert note in summary.notes


BOMB = b"""<?xml version="1.0"?><!DOCTYPE plist [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>
<plist version="1.0"><dict><key>Images</key><string>&b;</string></dict></plist>"""
OUTSIDE = b"""<?xml version="1.0"?><!DOCTYPE plist [<!ENTITY a SYSTEM "file:///etc/hostname">]>
<plist version="1.0"><string>&a;</string></plist>"""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not readable as an OsiriX property list .ExpatError"),
        (b"<plist><dict>", "not readable as an OsiriX property list"),
        (b"<plist><dict><key>Images</key><integer>x</integer></dict></plist>", "not readable"),
        (b"bplist00 binary", "not readable"),
        (BOMB, "not readable as an OsiriX property list .InvalidFileException"),
        (OUTSIDE, "not readable as an OsiriX property list .InvalidFileException"),
        (b"<plist>" + b"<array>" * 50000 + b"</array>" * 50000 + b"</plist>", "no regions of interest|not readable"),
        ({"Patients": []}, r"holds no regions of interest .found Patients.; expected Images"),
        ([1, 2], r"holds no regions of interest .found list"),
        ({"Images": [{"ROIs": ["x"]}]}, "holds no regions of interest"),
        (
            images(roi("Mass", Point_px=["(1, 2)", "(1; 2)"], NumberOfPoints=2)),
            "a point of region 1 is not of the form",
        ),
        (images(box("Mass", 1, 2, 3, 4), roi("Mass", Point_px=["(nan, 2)"])), "a point of region 2"),
        (images(roi("Mass", Point_px=["(1e300, 2)"])), "a point of region 1"),
        (images(roi("Mass", Point_px=[3])), "a point of region 1"),
        ({"ROIPoints": ["{1, 2", "{3, 4}"]}, "a point of region 1"),
    ],
)
def test_broken_files_are_named(tmp_path, content, reason) -> None:
    path = Release(tmp_path).xml("AllXML/20586900.xml", content)
    with pytest.raises(UserError, match=reason) as refusal:
        read_rois(path)
    assert "20586900.xml" in str(refusal.value)


@pytest.mark.parametrize("ending", [".gz", ".zip"])
def test_packed_annotations_are_read(tmp_path, release, ending) -> None:
    path = release.root / "AllXML" / "20586900.xml"
    content = path.read_bytes()
    path.unlink()
    if ending == ".gz":
        path.with_suffix(".xml.gz").write_bytes(gzip.compress(content))
    else:
        with zipfile.ZipFile(path.with_suffix(".xml.zip"), "w") as archive:
            archive.writestr(path.name, content)
    summary = import_inbreast(release.root, tmp_path / "out")
    np.testing.assert_array_equal(labels(tmp_path / "out")[0][1], area("mass", 10, 30, 4, 9))
    assert "2 images have no file of findings, AllXML/<id>.xml, and count as normal" in summary.notes


@pytest.mark.parametrize("name", ["20586900 (1).xml", "20586900.xml.7z", "20586900_muscle.xml.bz2"])
def test_annotations_in_another_form_do_not_make_an_image_normal(tmp_path, release, name) -> None:
    release.xml(f"AllXML/{name}", b"7z")
    release.xml(f"AllXML/{name.replace('900', '999')}", b"7z")  # of an image that is not here
    with pytest.raises(UserError, match=r"are not read; expected 20586900\.xml or 20586900_muscle\.xml, also packed"):
        import_inbreast(release.root, tmp_path / "out")


def test_files_that_are_missing_or_too_many(tmp_path, release) -> None:
    number = release.image(2, "L", "ML")
    release.xml("AllXML/99999999.xml", images(box("Whatever", 1, 1, 3, 3)))
    release.xml("AllXML/._20586900.xml", b"resource fork")
    (release.root / "INbreast.csv").write_text("Patient ID;Patient age;Laterality\n", encoding="utf-8")
    summary = import_inbreast(release.root, tmp_path / "out")
    assert "1 annotation files belong to no image here" in summary.notes
    assert "1 MLO images have no outline of the muscle, which is background there" in summary.notes
    path = release.xml("copy/20586900.xml", images())
    with pytest.raises(UserError, match=r"20586900\.xml: .* annotates the same image; remove one"):
        import_inbreast(release.root, tmp_path / "two")
    path.unlink()
    next((release.root / "AllDICOMs").glob(f"{number}*")).rename(release.root / "AllDICOMs" / "mine.dcm")
    summary = import_inbreast(release.root, tmp_path / "two")
    assert [path.name for path, _ in summary.rejected] == ["mine.dcm"]
    assert "its name is not of the form <id>_<person>_MG_" in summary.rejected[0][1]
    with pytest.raises(UserError, match=r"AllDICOMs: no annotations of its 4 DICOM files; looked .* AllXML"):
        import_inbreast(release.root / "AllDICOMs", tmp_path / "three")


def test_a_pattern_of_the_subject_stands_for_the_missing_part_of_the_name(tmp_path, release) -> None:
    for path in list((release.root / "AllDICOMs").iterdir()):
        path.rename(path.with_name(f"{path.name[:8]}.dcm"))
    summary = import_inbreast(release.root, tmp_path / "out", ImportOptions(subject=r"2058690\d"))
    assert (summary.images, summary.subjects) == (3, 3)
    found = labels(tmp_path / "out")
    np.testing.assert_array_equal(found[1][1], muscle_by_hand("R"))


@pytest.mark.parametrize("radius", [-1.0, 101.0, float("nan")])
def test_wrong_radius(tmp_path, release, radius) -> None:
    with pytest.raises(UserError, match=r"--radius is .*; expected a number of pixels from 0 to 100"):
        import_inbreast(release.root, tmp_path / "out", radius=radius)


def test_no_name_reaches_the_output(tmp_path, release) -> None:
    planted = Release(tmp_path / "Planted Name")
    number = planted.image(0, "L", "CC", PatientName="Planted^Name")
    planted.findings(number, box("Mass", 1, 1, 9, 9, Comments="Planted Name"))
    planted.image(1, "L", "CC")
    import_inbreast(planted.root, tmp_path / "out", ImportOptions(reference="mine"))
    for path in (tmp_path / "out").rglob("*"):
        assert "lanted" not in path.name
        if path.is_file():
            content = path.read_bytes()
            for word in (b"lanted", b"PLANTED", number.encode(), PERSONS[0].encode(), b"removed"):
                assert word not in content


def test_the_command(tmp_path, release, capsys) -> None:
    argv = ["inbreast", str(release.root), str(tmp_path / "out")]
    assert main([*argv, "--dry_run"]) == 0
    assert "3 of 2 subjects" in capsys.readouterr().out
    release.findings(release.image(2, "R", "CC"), roi("Lymph node", (5, 6)), box("Mass", -1, 8, 5, 12))
    options = ["--merge", "lymph node=calcification", "--radius", "0", "--workers", "2", "--json", "--flip", "left"]
    assert main([*argv, *options]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["labels"] == list(CLASSES)
    assert "1 regions have points outside their image, which were moved to its border" in summary["notes"]
    assert main(["inbreast", str(tmp_path / "nowhere"), str(tmp_path / "two")]) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err
