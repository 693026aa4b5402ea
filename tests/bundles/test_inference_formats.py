"""All output formats of a bundle's inference, from DICOM files full of identifiers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from dicom_factory import PLANTED, write_dicom
from PIL import Image
from pydicom import dcmread

from scripts.importers.classes import ClassTable
from scripts.importers.merge import Tally
from scripts.importers.qupath import read_label
from transforms.errors import user_error
from transforms.outputs.findings import read_rows
from transforms.outputs.finished import ENDINGS
from transforms.save import FORMATS, needs_logits

Run = Callable[..., None]
FILES = [f"a{ending}" for name, ending in ENDINGS.items() if name != "source"]
ALL = [name for name in FORMATS if name != "source"]


@pytest.fixture
def trained(run_bundle: Run, tiny_dataset: Path) -> Run:
    """A U-Net of one epoch on images whose chest wall is at one side, and a run of its inference."""
    run_bundle(bundle="unet", dataset_dir=str(tiny_dataset), max_epochs=1, image_height=24)

    def infer(**options: Any) -> None:
        run_bundle("inference", bundle="unet", **options)

    return infer


def write_images(folder: Path, *names: str) -> Path:
    pixels = np.zeros((50, 44), np.uint16)
    pixels[:, :30] = 1500
    pixels[10:20, 5:15] = 3500
    for name in names:
        write_dicom(folder / f"{name}.dcm", pixels, ImageLaterality="L", ViewPosition="CC", BurnedInAnnotation="YES")
    return folder


def test_all_formats_agree_and_only_the_dicom_seg_names_the_person(
    trained: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = write_images(tmp_path / "in", "a")
    (source / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    capfd.readouterr()
    trained(dataset_dir=str(source), results_dir=str(tmp_path / "res"), formats=ALL)
    results = tmp_path / "res"
    assert sorted(p.name for p in results.iterdir()) == sorted([*FILES, "findings.csv"])

    label = np.asarray(Image.open(results / "a_labels.png"))
    assert label.shape == (50, 44)
    back = read_label(
        results / "a.geojson", ClassTable.make(["background", "gland", "tumor"], {}), Tally(), label.shape
    )
    assert np.array_equal(back, label)
    frames = dcmread(results / "a_seg.dcm").pixel_array
    assert np.array_equal(frames.astype(bool), np.stack([label == 1, label == 2]))
    assert nib.load(results / "a_prob.nii.gz").shape == (21, 24, 1, 3)
    refused, row = sorted(read_rows(results / "findings.csv"), key=lambda r: r["refused"], reverse=True)
    assert (refused["name"], "broken.png" in refused["refused"]) == ("broken", True)
    assert int(row["gland_px"]) == (label == 1).sum()
    assert (row["laterality"], row["view"], row["burned_in"], row["gland_mm2"]) == ("L", "CC", "yes", "")

    printed = capfd.readouterr()
    others = [p.read_bytes() for p in results.iterdir() if p.name != "a_seg.dcm"]
    for content in (printed.out.encode(), printed.err.encode(), *others):
        assert not [text for text in PLANTED if text.encode() in content]
    assert b"PLANTED^NAME" in (results / "a_seg.dcm").read_bytes()


def test_resuming_does_what_is_missing_only(trained: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source, results = write_images(tmp_path / "in", "a", "b"), tmp_path / "res"
    options: dict[str, Any] = {"dataset_dir": str(source), "results_dir": str(results), "formats": ALL}
    trained(**options)
    (results / "b.geojson").unlink()
    before = {p.name: p.stat().st_mtime_ns for p in results.iterdir()}
    trained(**options, resume=True)
    assert "1 images have their results already" in capfd.readouterr().out
    changed = {p.name for p in results.iterdir() if before.get(p.name) != p.stat().st_mtime_ns}
    assert changed == {name.replace("a", "b", 1) for name in FILES} | {"findings.csv"}
    trained(**options, resume=True)
    assert "2 images have their results already" in capfd.readouterr().out


def test_a_picture_gets_no_dicom_seg_but_a_remark(
    trained: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.full((50, 44), 99, np.uint8)).save(tmp_path / "in" / "a.png")
    trained(dataset_dir=str(tmp_path / "in"), results_dir=str(tmp_path / "res"), formats=["dicom_seg", "png"])
    assert "a.png: not DICOM, so no DICOM SEG of it" in "".join(capfd.readouterr())
    assert [p.name for p in (tmp_path / "res").iterdir()] == ["a_labels.png"]


def test_an_unknown_format_is_refused_with_the_list(trained: Run, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r".") as raised:
        trained(dataset_dir=str(write_images(tmp_path / "in", "a")), formats=["dicomseg"])
    assert str(user_error(raised.value)) == f"--formats: there is no dicomseg; there are {', '.join(FORMATS)}"


def test_every_format_has_an_ending_and_logits_are_kept_where_needed() -> None:
    assert {*ENDINGS, "findings"} == set(FORMATS)
    assert [name for name in FORMATS if needs_logits(name)] == ["probabilities", "geojson"]
