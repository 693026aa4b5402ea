"""QuPath annotations: what is written, and read back to the same label map."""

from __future__ import annotations

import json
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from scripts.importers.labels.classes import ClassTable
from scripts.importers.labels.merge import Tally
from scripts.importers.sources.qupath import read_label
from scripts.prepare import main
from transforms.outputs.geojson import write_geojson
from transforms.outputs.prediction import Prediction

CLASSES = ("background", "adipose tissue", "tumor", "pectoral muscle")


def written(folder: Path, label: np.ndarray, **options: Any) -> list[dict[str, Any]]:
    write_geojson(Prediction(label, CLASSES, folder, "a", **options))
    content = json.loads((folder / "a.geojson").read_text(encoding="utf-8"))
    assert content["type"] == "FeatureCollection"
    return content["features"]


def test_a_tissue_is_one_annotation_and_each_tumor_its_own(tmp_path: Path) -> None:
    label = np.array([[1, 0, 2, 0, 2], [0, 1, 2, 0, 2]], np.uint8)
    features = written(tmp_path, label, spacing_mm=(0.5, 0.2))
    shown = [(f["properties"]["classification"]["name"], f["geometry"]["type"]) for f in features]
    assert shown == [("adipose tissue", "MultiPolygon"), ("tumor", "Polygon"), ("tumor", "Polygon")]
    assert [f["properties"]["measurements"] for f in features] == [{"Predicted area mm^2": 0.2}] * 3
    for feature in features:
        assert feature["properties"]["objectType"] == "annotation"
        assert len(feature["properties"]["classification"]["color"]) == 3  # without one, QuPath does not open it


def test_area_in_pixels_where_the_spacing_is_unknown_and_mean_probability(tmp_path: Path) -> None:
    logits = torch.log(torch.tensor([0.1, 0.2, 0.6, 0.1]))[:, None, None].expand(4, 2, 2)
    (feature,) = written(tmp_path, np.full((4, 4), 2, np.uint8), logits=logits)
    measurements = {"Predicted area px": 16, "Mean probability": 0.6, "Score": 0.6}
    assert feature["properties"]["measurements"] == measurements
    assert written(tmp_path, np.full((4, 4), 2, np.uint8), logits=logits, min_lesion_score=0.7) == []
    (ring,) = feature["geometry"]["coordinates"]
    assert sorted(ring[:-1]) == [[0, 0], [0, 4], [4, 0], [4, 4]]
    assert ring[-1] == ring[0]


@settings(max_examples=100, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 3)))
def test_the_importer_reads_back_the_same_label_map(label: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for feature in written(Path(folder), label):
            polygons = feature["geometry"]["coordinates"]
            parts = [polygons] if feature["geometry"]["type"] == "Polygon" else polygons
            assert all(ring[0] == ring[-1] for rings in parts for ring in rings)
        back = read_label(Path(folder) / "a.geojson", ClassTable.make(list(CLASSES), {}), Tally(), label.shape)
    assert np.array_equal(back, label)


def test_round_trip_through_the_command(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = tmp_path / "images"
    images.mkdir()
    labels = {}
    for name, corner in (("a", 10), ("b", 20)):
        label = rng.integers(0, 4, (70, 50)).astype(np.uint8)
        label[corner : corner + 30, 10:30] = 1
        label[30:40, 15:25] = 2
        Image.fromarray(rng.integers(1, 255, (70, 50), dtype=np.uint8)).save(images / f"{name}.png")
        write_geojson(Prediction(label, CLASSES, images, name))
        labels[sha256((images / f"{name}.png").read_bytes()).hexdigest()] = label
    assert main(["qupath", str(images), str(tmp_path / "out"), "--classes", ",".join(CLASSES)]) == 0
    dataset = json.loads((tmp_path / "out" / "dataset.json").read_text())
    items = dataset["training"] + dataset["validation"]
    assert len(items) == 2
    for item in items:
        assert np.array_equal(np.load(tmp_path / "out" / item["label"]), labels[item["source_sha256"]])


def test_background_only(tmp_path: Path) -> None:
    assert written(tmp_path, np.zeros((5, 5), np.uint8)) == []


@pytest.mark.parametrize("name", ["Müller's class", 'with "quotes"'])
def test_class_names_are_kept(tmp_path: Path, name: str) -> None:
    write_geojson(Prediction(np.ones((2, 2), np.uint8), ("background", name), tmp_path, "sub/a"))
    text = (tmp_path / "sub" / "a.geojson").read_text(encoding="utf-8")
    assert json.loads(text)["features"][0]["properties"]["classification"]["name"] == name
