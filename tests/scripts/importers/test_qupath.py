"""QuPath annotations of every version become the intended label map."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_factory import ramp, write_dicom
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.importers.sources.qupath import ClassTable, Tally, import_qupath, read_label
from scripts.importers.sources.qupath_geojson import class_name, read_annotations
from scripts.prepare import main
from transforms.dataset import Dataset, open_array
from transforms.errors import UserError

SHAPE = (20, 30)
CLASSES = ("background", "adipose tissue", "mammary gland", "tumor")
TABLE = ClassTable.make(CLASSES, {"skin": "adipose tissue", "text": "background"})


def box(x0: int, y0: int, x1: int, y1: int) -> list[list[float]]:
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]


def feature(name: Any, *rings: list[list[float]], **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": "3f1c2f0e-1111-4222-8333-444455556666",
        "geometry": {"type": "Polygon", "coordinates": list(rings)},
        "properties": {"objectType": "annotation", "classification": name, **properties},
    }


def collection(*features: dict[str, Any]) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


def saved(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def label_of(path: Path, content: Any, table: ClassTable = TABLE) -> np.ndarray:
    return read_label(saved(path / "a.geojson", content), table, Tally(), SHAPE)


TUMOR = {"name": "tumor", "color": [200, 0, 0]}
PLAIN = feature(TUMOR, box(2, 3, 7, 5))
VERSIONS = {
    "0.5 collection": collection(PLAIN),
    "0.2 list": [
        {
            "type": "Feature",
            "id": "PathAnnotationObject",
            "geometry": PLAIN["geometry"],
            "properties": {
                "classification": {"name": "tumor", "colorRGB": -3670016},
                "isLocked": False,
                "measurements": [],
            },
        }
    ],
    "0.3 single feature": feature(TUMOR, box(2, 3, 7, 5), object_type="annotation"),
    "0.4 names": collection(feature({"names": ["tumor"], "color": [1, 2, 3]}, box(2, 3, 7, 5))),
    "plain text": [feature("tumor", box(2, 3, 7, 5))],
    "0.5 as written": """{
  "type": "FeatureCollection",
  "features": [
    {
      "type": "Feature",
      "id": "0f6a1c46-7d0e-4e43-a35e-6f7a3a3c9c01",
      "geometry": {
        "type": "Polygon",
        "coordinates": [[[2, 3], [7, 3], [7, 5], [2, 5], [2, 3]]]
      },
      "properties": {
        "objectType": "annotation",
        "name": "a finding",
        "color": [255, 0, 0],
        "classification": {"name": "tumor", "color": [200, 0, 0]},
        "isLocked": true,
        "measurements": {"Area px^2": 10.0, "mean": "NaN"}
      }
    },
    {
      "type": "Feature",
      "id": "0f6a1c46-7d0e-4e43-a35e-6f7a3a3c9c02",
      "geometry": {"type": "LineString", "coordinates": [[0, 0], [20, 15]]},
      "properties": {"objectType": "annotation", "classification": {"name": "tumor", "color": [200, 0, 0]}}
    }
  ]
}""",
    "0.6 as written": """{"type":"FeatureCollection","features":[
{"type":"Feature","id":"6c1f0f0a-92f5-4c6e-8d2f-0a4a6c1d2e03",
 "geometry":{"type":"MultiPolygon","plane":{"c":-1,"z":0,"t":0},
  "coordinates":[[[[2.00,3.00],[5.00,3.00],[5.00,5.00],[2.00,5.00],[2.00,3.00]]],
                 [[[5.00,3.00],[7.00,3.00],[7.00,5.00],[5.00,5.00],[5.00,3.00]]]]},
 "properties":{"objectType":"annotation","classification":{"names":["tumor"],"color":[200,0,0]},
  "isLocked":true,"metadata":{"reader":"a"},"measurements":{"Area px^2":10.0}}},
{"type":"Feature","id":"6c1f0f0a-92f5-4c6e-8d2f-0a4a6c1d2e04",
 "geometry":{"type":"MultiPoint","coordinates":[[1.0,1.0],[2.0,2.0]]},
 "properties":{"objectType":"annotation"}}]}""",
    "child of an object without a class": collection(
        feature(None, box(0, 0, 30, 20), childObjects=[PLAIN, {"type": "Feature", "geometry": None, "properties": {}}])
    ),
    "nested list": [[PLAIN]],
    "third coordinate": [feature(TUMOR, [[*point, 0] for point in box(2, 3, 7, 5)])],
    "open ring": [feature(TUMOR, box(2, 3, 7, 5)[:-1])],
    "ellipse": [{**PLAIN, "geometry": {"type": "Polygon", "isEllipse": True, "coordinates": [box(2, 3, 7, 5)]}}],
    "one-member multipolygon": [{**PLAIN, "geometry": {"type": "MultiPolygon", "coordinates": [[box(2, 3, 7, 5)]]}}],
    "duplicate key": json.dumps(collection(PLAIN)).replace(
        '"properties": {', '"properties": {"metadata": {}, "metadata": {"a": "b"}, '
    ),
    "byte order mark": "\ufeff" + json.dumps(collection(PLAIN)),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_gives_the_same_map(tmp_path, version) -> None:
    expected = np.zeros(SHAPE, np.uint8)
    expected[3:5, 2:7] = 3
    np.testing.assert_array_equal(label_of(tmp_path, VERSIONS[version]), expected)


def test_an_ellipse_is_the_polygon_that_qupath_writes(tmp_path) -> None:
    """QuPath flattens ellipses; "isEllipse" lets itself restore them. 5 x 3 pixels around (10.5, 8.5), by hand."""
    corners = [[8, 8.5], [8.7, 7.4], [10.5, 7], [12.3, 7.4], [13, 8.5], [12.3, 9.6], [10.5, 10], [8.7, 9.6], [8, 8.5]]
    ellipse = {**PLAIN, "geometry": {"type": "Polygon", "isEllipse": True, "coordinates": [corners]}}
    expected = np.zeros(SHAPE, np.uint8)
    expected[7, 9:12] = expected[8, 8:13] = expected[9, 9:12] = 3
    np.testing.assert_array_equal(label_of(tmp_path, collection(ellipse)), expected)


def test_holes_multipolygons_and_islands(tmp_path) -> None:
    two_holes = feature("mammary gland", box(0, 0, 12, 12), box(1, 1, 3, 3), box(6, 6, 9, 8))
    donut_with_island = {
        "type": "Feature",
        "geometry": {
            "type": "MultiPolygon",
            "coordinates": [[box(14, 0, 26, 12), box(16, 2, 24, 10)], [box(18, 4, 22, 8), box(19, 5, 20, 6)]],
        },
        "properties": {"classification": "tumor"},
    }
    label = label_of(tmp_path, collection(two_holes, donut_with_island))
    assert (label == 2).sum() == 144 - 4 - 6
    assert (label == 3).sum() == (144 - 64) + (16 - 1)


def test_later_class_wins_whatever_the_order_in_the_file(tmp_path) -> None:
    features = [
        feature("adipose tissue", box(0, 0, 30, 20)),
        feature("mammary gland", box(5, 5, 20, 15)),
        feature("tumor", box(8, 8, 12, 12)),
        feature("skin", box(0, 0, 10, 10)),  # joins adipose tissue, and so lies below the gland
        feature("tumor", box(19, 14, 22, 17)),
    ]
    expected = label_of(tmp_path, collection(*features))
    assert [(expected == label).sum() for label in range(4)] == [0, 600 - 150 - 8, 150 - 16 - 1, 16 + 9]
    for seed in range(6):
        random.Random(seed).shuffle(features)
        np.testing.assert_array_equal(label_of(tmp_path, collection(*features)), expected)


def test_precedence_can_be_stated(tmp_path) -> None:
    features = collection(feature("mammary gland", box(0, 0, 10, 10)), feature("tumor", box(5, 5, 10, 10)))
    table = ClassTable.make(CLASSES, {}, ["mammary gland"])
    assert (label_of(tmp_path, features, table) == 2).sum() == 100


def test_overlaps_and_skipped_features_are_counted(tmp_path) -> None:
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {}}
    path = saved(
        tmp_path / "a.geojson",
        collection(
            feature("mammary gland", box(0, 0, 10, 10)),
            feature("tumor", box(5, 5, 12, 12)),
            feature(None, box(0, 0, 30, 20)),
            feature({"name": "Unclassified"}, box(0, 0, 30, 20)),
            feature("tumor", box(100, 100, 120, 120)),
            point,
        ),
    )
    tally = Tally()
    read_label(path, TABLE, tally, SHAPE)
    assert tally.overlaps == {"tumor over mammary gland": 25}
    assert tally.notes == {
        "features were skipped: unclassified": 2,
        "features were skipped: point or line": 1,
        "polygons cover no pixel of their image": 1,
    }


def test_unknown_class_lists_what_is_known_and_the_remedy(tmp_path) -> None:
    with pytest.raises(UserError, match="unknown class muscle; known are background") as refusal:
        label_of(tmp_path, collection(feature("muscle", box(0, 0, 3, 3))))
    for part in ("a.geojson", "skin", "--classes", '--merge as "muscle=background"'):
        assert part in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not readable as GeoJSON"),
        ("[" * 100_000 + "]" * 100_000, "not readable as GeoJSON"),
        ({"type": "Topology"}, "holds no GeoJSON features .found Topology"),
        (5, "found int"),
        ([feature("tumor", [["x", "y"]])], "feature 1 is not a valid GeoJSON polygon"),
        ([PLAIN, feature("tumor", [[1e300, 2], [3, 4], [5, 6]])], "feature 2 is not a valid"),
        ([feature("tumor", [[1], [2], [3]])], "feature 1 is not a valid"),
        ([{**PLAIN, "properties": "none"}], "feature 1 is not a valid"),
    ],
)
def test_broken_files_are_named(tmp_path, content, reason) -> None:
    with pytest.raises(UserError, match=reason) as refusal:
        read_annotations(saved(tmp_path / "Bild ä#1.geojson", content))
    assert "Bild ä#1.geojson" in str(refusal.value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 40)
    | st.floats()
    | st.sampled_from(["tumor", "Feature", "Polygon", ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["type", "features", "geometry", "coordinates", "properties", "classification", "name", "names"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(
    st.builds(lambda key, value: {**PLAIN, key: value}, st.sampled_from(["geometry", "properties", "id"]), JSON) | JSON
)
def test_any_json_is_read_or_refused(tmp_path_factory, content) -> None:
    path = saved(tmp_path_factory.getbasetemp() / "any.geojson", content)
    try:
        label = read_label(path, TABLE, Tally(), SHAPE)
    except UserError:
        return
    assert label.shape == SHAPE
    assert label.max() < len(CLASSES)


@pytest.mark.parametrize(
    ("classification", "name"),
    [(None, None), ({}, None), ("", None), ("A", "A"), ({"name": " A "}, "A"), ({"names": ["A", "B"]}, "A: B")],
)
def test_class_names(classification, name) -> None:
    assert class_name(classification) == name


@pytest.mark.parametrize(
    ("names", "merge", "reason"),
    [
        (["background"], {}, "two or more"),
        (["a", "b", "a"], {}, "two or more different"),
        (["a", "b"], {"skin": "c"}, "c: not among --classes a, b"),
        (["a", "b"], {"b": "a"}, "b: both in --classes and in --merge"),
    ],
)
def test_class_table_is_checked(names, merge, reason) -> None:
    with pytest.raises(UserError, match=reason):
        ClassTable.make(names, merge)


def source_tree(root: Path, subjects: int = 3) -> Path:
    """Two views of each subject, as `pNNN/L_CC.dcm` + `.geojson`, with a folder name that needs care."""
    for subject in range(subjects):
        for view in ("L_CC", "R_MLO"):
            path = root / f"p{subject:03d} ä#" / f"{view}.dcm"
            write_dicom(path, ramp(SHAPE) + subject, PatientID=f"PLANTED-ID-{subject}")
            saved(path.with_suffix(".geojson"), collection(feature(TUMOR, box(subject, 0, subject + 2, 20))))
    return root


def test_a_folder_of_dicom_files_becomes_a_dataset(tmp_path) -> None:
    summary = import_qupath(
        source_tree(tmp_path / "in ö"), tmp_path / "out ü", classes=CLASSES, merge={"skin": "adipose tissue"}
    )
    assert (summary.images, summary.subjects) == (6, 3)
    assert summary.sections == {"training": 4, "validation": 2, "test": 0}
    dataset = Dataset.load(tmp_path / "out ü")
    dataset.check_labels(dataset.items("training") + dataset.items("validation"))
    items = {item["case"]: item for section in ("training", "validation") for item in dataset.items(section)}
    assert sorted(items) == ["s001_L_CC", "s001_R_MLO", "s002_L_CC", "s002_R_MLO", "s003_L_CC", "s003_R_MLO"]
    for subject, number in enumerate(("s001", "s002", "s003")):
        np.testing.assert_array_equal(open_array(items[f"{number}_L_CC"]["image"]), ramp(SHAPE) + subject)
        label = open_array(items[f"{number}_R_MLO"]["label"])
        assert (label[:, subject : subject + 2] == 3).all()
        assert (label == 3).sum() == 40


@pytest.mark.parametrize(("choice", "images"), [("background", 6), ("skip", 5)])
def test_an_image_without_annotations(tmp_path, choice, images) -> None:
    source = source_tree(tmp_path / "in")
    (source / "p001 ä#" / "L_CC.geojson").unlink()
    with pytest.raises(UserError, match=r"L_CC\.dcm: no annotations; looked for L_CC\.geojson in .*--unannotated"):
        import_qupath(source, tmp_path / "out", classes=CLASSES)
    assert not (tmp_path / "out").exists()
    assert import_qupath(source, tmp_path / "out", classes=CLASSES, unannotated=choice).images == images


def test_annotations_in_a_folder_of_their_own(tmp_path) -> None:
    source = source_tree(tmp_path / "in")
    for path in source.rglob("*.geojson"):
        target = tmp_path / "annotations" / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    assert import_qupath(source, tmp_path / "out", classes=CLASSES, annotations=tmp_path / "annotations").images == 6
    with pytest.raises(UserError, match="no such folder; expected that of the GeoJSON files as --annotations"):
        import_qupath(source, tmp_path / "two", classes=CLASSES, annotations=tmp_path / "nowhere")


def test_one_annotation_file_is_not_given_to_two_patients(tmp_path) -> None:
    """TCIA calls every image 1-1.dcm; exports into one folder replace each other."""
    for case in ("caseA", "caseB"):
        write_dicom(tmp_path / "in" / case / "1-1.dcm", ramp(SHAPE), PatientID=case)
    saved(tmp_path / "annotations" / "1-1.geojson", collection(feature(TUMOR, box(0, 0, 2, 20))))
    with pytest.raises(UserError, match=r"1-1\.geojson: would label two images, .*caseA.* and .*caseB.*subfolder"):
        import_qupath(tmp_path / "in", tmp_path / "out", classes=CLASSES, annotations=tmp_path / "annotations")


def test_annotations_among_the_images_are_no_images(tmp_path) -> None:
    source = source_tree(tmp_path / "in")
    for path in source.rglob("*.geojson"):
        target = source / "results" / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target).with_name("L_CC_labels.png").write_bytes(b"not to be read")
    assert import_qupath(source, tmp_path / "out", classes=CLASSES, annotations=source / "results").images == 6


def test_smoothing_and_the_task_tumor(tmp_path) -> None:
    notched = [[2, 2], [12, 2], [12, 12], [8, 12], [8, 16], [7, 16], [7, 12], [2, 12], [2, 2]]
    features = collection(feature("tumor", notched), feature("skin", box(0, 0, 30, 6)), feature("text", notched))
    path = saved(tmp_path / "a.geojson", features)
    rough = read_label(path, TABLE, Tally(), SHAPE)
    assert rough[15, 7] == 3
    smooth = read_label(path, TABLE, Tally(), SHAPE, smooth=2.0)
    assert smooth[15, 7] == 0
    assert (smooth[3:11, 4:10] == 3).all()
    table = ClassTable.make(CLASSES, {"skin": "adipose tissue", "text": "background"}, ["adipose tissue"], "tumor")
    np.testing.assert_array_equal(read_label(path, table, Tally(), SHAPE), (rough == 3).astype(np.uint8))


def test_table_7_ranks_classes_that_all_stand_there_and_says_so(tmp_path) -> None:
    for number in range(2):
        path = write_dicom(tmp_path / "in" / f"p{number}_L_CC.dcm", ramp(SHAPE) + number, PatientID=f"p{number}")
        features = collection(feature("skin", box(0, 0, 10, 10)), feature("text", box(5, 5, 15, 15)))
        saved(path.with_suffix(".geojson"), features)
    summary = import_qupath(tmp_path / "in", tmp_path / "out", classes=["background", "skin", "text"])
    assert summary.overlaps == {"skin over text": 50}
    assert any("its ranking was used: skin over text over background" in note for note in summary.notes)
    stated = import_qupath(
        tmp_path / "in", tmp_path / "two", classes=["background", "skin", "text"], precedence=["text"]
    )
    assert stated.overlaps == {"text over skin": 50}


def test_the_command_takes_smoothing_and_the_task(tmp_path, capsys) -> None:
    source = source_tree(tmp_path / "in")
    argv = ["qupath", str(source), str(tmp_path / "out"), "--classes", "background,tumor"]
    assert main([*argv, "--task", "tumor", "--smooth", "0.4"]) == 0
    assert "non-tumor" in capsys.readouterr().out
    assert main([*argv, "--overwrite", "--smooth", "-1"]) == 2
    assert "error: --smooth is -1; expected a standard deviation in pixels from 0" in capsys.readouterr().err
    assert Dataset.load(tmp_path / "out").class_names == ["non-tumor", "tumor"]
