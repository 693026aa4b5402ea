"""DICOM files without labels become a folder of test images without identifiers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from dicom_factory import PLANTED, ramp, write_bare_dicom, write_dicom
from PIL import Image

from scripts.importers.import_options import ImportOptions
from scripts.importers.sources.dicom_folder import import_dicom
from scripts.prepare import main
from transforms.dataset import Dataset, open_array
from transforms.errors import UserError

SHAPE = (24, 16)


def write_source(root: Path, subjects: int = 3) -> Path:
    for number in range(subjects):
        for side, view in (("L", "CC"), ("R", "MLO")):
            write_dicom(
                root / f"PLANTED^NAME {number}" / f"{side}{view}.dcm",
                ramp(SHAPE) + number,
                PatientID=f"PLANTED-ID-{number}",
                ImageLaterality=side,
                ViewPosition=view,
            )
    return root


def test_images_only(tmp_path) -> None:
    source = write_source(tmp_path / "in ö")
    write_bare_dicom(source / "1.2.840.1", ramp(SHAPE) + 9, PatientID="other")
    Image.fromarray(ramp(SHAPE)).save(source / "icon.png")
    (source / "README.txt").write_text("PLANTED", encoding="utf-8")
    (source / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"x" * 40)
    summary = import_dicom(source, tmp_path / "out")
    assert summary.sections == {"training": 0, "validation": 0, "test": 7}
    assert (summary.images, summary.subjects) == (7, 4)
    assert [path.name for path, _ in summary.rejected] == ["broken.dcm"]
    assert "1 pictures are not DICOM and were ignored" in summary.notes
    items = {item["case"]: item for item in Dataset.load(tmp_path / "out").items("test")}
    assert all(item["label"] is None for item in items.values())
    by_value = {int(open_array(item["image"])[0, 0]): item for item in items.values() if item["view"] == "CC"}
    np.testing.assert_array_equal(open_array(by_value[2]["image"]), ramp(SHAPE) + 2)
    assert by_value[2]["laterality"] == "L"
    assert list((tmp_path / "out" / "labels").glob("*")) == []


def test_no_identifier_reaches_the_output(tmp_path) -> None:
    source = write_source(tmp_path / "PLANTED HOSPITAL", 2)
    import_dicom(source, tmp_path / "out", ImportOptions(name="mine"))
    for path in (tmp_path / "out").rglob("*"):
        assert "PLANTED" not in path.name
        if path.is_file():
            content = path.read_bytes()
            for planted in (*PLANTED, "PLANTED"):
                assert planted.encode() not in content
    assert json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))["name"] == "mine"


def test_bad_folders(tmp_path) -> None:
    with pytest.raises(UserError, match="nowhere: no such folder"):
        import_dicom(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "in").mkdir()
    with pytest.raises(UserError, match="in: no images; looked in it and below it for DICOM files"):
        import_dicom(tmp_path / "in", tmp_path / "out")
    Image.fromarray(ramp(SHAPE)).save(tmp_path / "in" / "a.png")
    with pytest.raises(UserError, match=r"in: no DICOM files; found 1 pictures such as a\.png"):
        import_dicom(tmp_path / "in", tmp_path / "out")
    (tmp_path / "in" / "b.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"x" * 40)
    with pytest.raises(UserError, match=r"none of 1 images could be read; the first: .*b\.dcm"):
        import_dicom(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path, capsys) -> None:
    source = write_source(tmp_path / "in", 2)
    assert main(["dicom", str(source), str(tmp_path / "out"), "--flip", "left"]) == 0
    assert "test 4" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "out")]) == 0
