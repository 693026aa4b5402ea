"""Annotation files of other tools are recognized, and the message names the command that reads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.importers.labels.foreign import what_it_is
from scripts.prepare import main

FILES = {
    "LabelMe": (
        "a.json",
        json.dumps({"version": "5.4", "flags": {}, "shapes": [], "imagePath": "a.png", "imageData": None}),
        "LabelMe annotations, one file per image, which are not supported; convert them to COCO JSON",
    ),
    "VIA project": ("via.json", json.dumps({"_via_settings": {}, "_via_img_metadata": {}}), "scripts.prepare via"),
    "VIA export": (
        "via.json",
        json.dumps({"a.png5": {"filename": "a.png", "size": 5, "regions": []}}),
        "scripts.prepare via",
    ),
    "VIA table": ("via.csv", "filename,file_size,region_shape_attributes\n", "scripts.prepare via"),
    "COCO": ("c.json", json.dumps({"images": [], "annotations": [], "categories": []}), "scripts.prepare coco"),
    "CVAT": (
        "annotations.xml",
        '<?xml version="1.0"?>\n<annotations>\n  <version>1.1</version>\n  <meta/></annotations>',
        "annotations of CVAT for images, which are not supported; export the task from CVAT as COCO 1.0",
    ),
    "Pascal VOC": ("a.xml", "<annotation><filename>a.png</filename><object/></annotation>", "Pascal VOC"),
    "QuPath": ("a.geojson", json.dumps({"type": "FeatureCollection", "features": []}), "scripts.prepare qupath"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", ["beside the image", "in the folder of labels"])
def test_a_plain_import_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, place: str) -> None:
    file, content, message = FILES[name]
    images, labels = tmp_path / "images", tmp_path / "labels"
    for folder in (images, labels):
        folder.mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(images / "a.png")
    if place == "beside the image":  # and some other image has a label
        for folder in (images, labels):
            Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "b.png")
    folder = images if place == "beside the image" else labels
    (folder / file).write_text(content)
    assert main(["folder", str(images), str(labels), str(tmp_path / "out"), "--values", "0=a,1=b", "--quiet"]) == 2
    error = capsys.readouterr().err.strip()
    assert f"; {file} holds " in error
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("name", ["LabelMe", "VIA project", "COCO"])
def test_an_import_from_qupath_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(FILES[name][1])
    assert main(["qupath", str(tmp_path), str(tmp_path / "out"), "--classes", "a,b", "--quiet"]) == 2
    assert FILES[name][2] in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "5", "<html>", "", "{}", '{"a": 1}', "\x00\x01", "[1]"])
def test_others_are_not_recognized(tmp_path: Path, content: str) -> None:
    for ending in (".json", ".xml", ".csv"):
        path = tmp_path / f"a{ending}"
        path.write_text(content)
        assert what_it_is(path) is None
    assert what_it_is(tmp_path / "absent.json") is None
    assert what_it_is(tmp_path / "a.png") is None
