"""From DICOM files full of identifiers to a trained model: none of them is written or printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_factory import PLANTED, write_dicom

from scripts.prepare import main

SHAPE = (40, 32)


def write_annotated_dicom(folder: Path, number: int) -> None:
    """A DICOM file and its QuPath annotation; names of files, folders and GeoJSON properties are planted too."""
    path = folder / f"PLANTED-FILE-{number}.dcm"
    pixels = np.full(SHAPE, 300, np.uint16)
    pixels[10:30, 5:25] = 3000
    write_dicom(path, pixels + number, PatientID=f"PLANTED-ID-{number}", ImageLaterality="L", ViewPosition="CC")
    ring = [[5, 10], [25, 10], [25, 30], [5, 30], [5, 10]]
    feature = {
        "type": "Feature",
        "id": "PLANTED-UUID",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "objectType": "annotation",
            "name": "PLANTED^NAME",
            "classification": {"name": "tumor", "color": [200, 0, 0]},
            "metadata": {"radiologist": "PLANTED-RADIOLOGIST"},
        },
    }
    path.with_suffix(".geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))


@pytest.mark.parametrize("private_map", [False, True])
def test_import_training_and_evaluation_leave_no_identifier(
    run_bundle: Callable[..., None],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    private_map: bool,
) -> None:
    source = tmp_path / "PLANTED-FOLDER"
    for number in range(4):
        write_annotated_dicom(source, number)
    monkeypatch.chdir(tmp_path)
    options = ["--private_map", "map.csv"] if private_map else []
    assert main(["qupath", str(source), "data", "--classes", "background,tumor", "--name", "mine", *options]) == 0
    run_bundle(bundle="unet", dataset_dir="data", max_epochs=1)
    run_bundle("evaluate", bundle="unet", dataset_dir="data")
    printed = capfd.readouterr()
    kept = [tmp_path / "map.csv", source]
    files = [p for p in tmp_path.rglob("*") if p.is_file() and not any(k in (p, *p.parents) for k in kept)]
    assert {"dataset.json", "mlflow.db", "model.pt", "scores.csv"} <= {p.name for p in files}
    for content in (printed.out.encode(), printed.err.encode(), *(p.read_bytes() for p in files)):
        assert not [text for text in (*PLANTED, "PLANTED") if text.encode() in content]
    assert not [p for p in files if "PLANTED" in p.name]
    assert (tmp_path / "map.csv").is_file() == private_map
