"""All output formats of a bundle's inference, from DICOM files full of identifiers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from dicom_factory import PLANTED, write_dicom
from PIL import Image
from pydicom import dcmread
from refusals import refused

import engines.runs.infer as infer_module
from scripts.importers.labels.classes import ClassTable
from scripts.importers.labels.merge import Tally
from scripts.importers.sources.qupath import read_label
from scripts.prepare import main as prepare
from transforms.outputs.findings_table import read_rows
from transforms.outputs.formats import ENDINGS, FORMATS, needs_logits

Run = Callable[..., None]
OTHERS = ("source", "disagreement")
"""Formats that need a data set made of label images, and an ensemble."""
FILES = [f"a{ending}" for name, ending in ENDINGS.items() if name not in OTHERS]
ALL = [name for name in FORMATS if name not in OTHERS]


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
    assert "1 images already have results" in capfd.readouterr().out
    changed = {p.name for p in results.iterdir() if before.get(p.name) != p.stat().st_mtime_ns}
    assert changed == {name.replace("a", "b", 1) for name in FILES} | {"findings.csv"}
    trained(**options, resume=True)
    assert "2 images already have results" in capfd.readouterr().out


def test_a_picture_gets_no_dicom_seg_but_a_remark(
    trained: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.eye(50, 44, dtype=np.uint8) * 99).save(tmp_path / "in" / "a.png")
    trained(dataset_dir=str(tmp_path / "in"), results_dir=str(tmp_path / "res"), formats=["dicom_seg", "png"])
    assert "a.png: not DICOM, so no DICOM SEG written" in "".join(capfd.readouterr())
    assert [p.name for p in (tmp_path / "res").iterdir()] == ["a_labels.png"]


def test_an_unknown_format_is_refused_with_the_list(trained: Run, tmp_path: Path) -> None:
    with refused(f"--formats: unknown dicomseg; choose from {', '.join(FORMATS)}"):
        trained(dataset_dir=str(write_images(tmp_path / "in", "a")), formats=["dicomseg"])
    with refused("--formats: none specified; choose from nifti"):
        trained(dataset_dir=str(tmp_path / "in"), formats=[])


def test_switches_of_the_command_line_mean_what_they_say(
    trained: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = write_images(tmp_path / "in", "a")
    options: dict[str, Any] = {"dataset_dir": str(source), "formats": ["png", "findings"]}
    trained(**options, results_dir=str(tmp_path / "one"))
    no = dict.fromkeys(("only_labels", "mirror_averaging", "resume"), "false")  # a text, as a command line gives it
    for _ in range(2):
        trained(**options, results_dir=str(tmp_path / "two"), **no)
    assert "left out" not in "".join(capfd.readouterr())
    one, two = (np.asarray(Image.open(tmp_path / name / "a_labels.png")) for name in ("one", "two"))
    assert one.shape == (50, 44)
    assert np.array_equal(one, two)
    with refused("--only_labels true does not go with image_height"):
        trained(**options, results_dir=str(tmp_path / "three"), only_labels="true")


def test_an_image_of_a_dataset_folder_is_read_as_its_source(trained: Run, tmp_path: Path) -> None:
    """An anonymized folder holds only pixels: bit depth, spacing and side are in its dataset.json."""
    source = write_images(tmp_path / "in", "a")
    assert prepare(["dicom", str(source), str(tmp_path / "cleaned"), "--quiet"]) == 0
    options: dict[str, Any] = {"formats": ["png", "findings"]}
    trained(dataset_dir=str(source), results_dir=str(tmp_path / "one"), **options)
    trained(dataset_dir=str(tmp_path / "cleaned"), results_dir=str(tmp_path / "two"), **options)
    (row,), (other,) = (read_rows(tmp_path / name / "findings.csv") for name in ("one", "two"))
    assert {**other, "name": "a"} == row
    pictures = [next((tmp_path / name).glob("*_labels.png")).read_bytes() for name in ("one", "two")]
    assert pictures[0] == pictures[1]


def test_what_a_person_drew_is_not_written_over(trained: Run, tmp_path: Path) -> None:
    source, results = write_images(tmp_path / "in", "a"), tmp_path / "res"
    options: dict[str, Any] = {"dataset_dir": str(source), "results_dir": str(results), "formats": ["geojson"]}
    for _ in range(2):
        trained(**options)  # its own it replaces
    drawn = '{"type":"FeatureCollection","features":[]}'
    (results / "a.geojson").write_text(drawn)
    with refused("a.geojson: drawn or corrected by hand"):
        trained(**options)
    assert (results / "a.geojson").read_text() == drawn


@pytest.mark.parametrize(
    "content", ["\ufeffname;rows\na;5\n".encode(), "Größe\n1\n".encode("latin-1")], ids=["semicolons", "latin 1"]
)
def test_a_table_saved_by_another_program_is_told_before_anything(trained: Run, tmp_path: Path, content: bytes) -> None:
    source, results = write_images(tmp_path / "in", "a"), tmp_path / "res"
    results.mkdir()
    (results / "findings.csv").write_bytes(content)
    with refused("findings.csv: no longer a table of earlier results"):
        trained(dataset_dir=str(source), results_dir=str(results), formats=["png", "findings"])
    assert [p.name for p in results.iterdir()] == ["findings.csv"]


def test_a_place_that_cannot_be_written_to_is_one_line(trained: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with refused("cannot be written to (Not a directory)"):
        trained(dataset_dir=str(write_images(tmp_path / "in", "a")), results_dir=str(tmp_path / "file" / "res"))


def test_a_strip_is_no_mammogram_and_a_resumed_run_may_find_nothing_else(
    trained: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = write_images(tmp_path / "in", "a", "part-a")
    Image.fromarray(np.zeros((1, 365), np.uint8)).save(source / "row.png")
    options: dict[str, Any] = {"dataset_dir": str(source), "results_dir": str(tmp_path / "res"), "formats": ["png"]}
    trained(**options)
    assert "row.png: 1 x 365 pixels; expected a mammogram" in capfd.readouterr().out
    assert sorted(p.name for p in (tmp_path / "res").iterdir()) == ["a_labels.png", "part-a_labels.png"]
    trained(**options, resume=True)


def test_every_format_has_an_ending_and_logits_are_kept_where_needed() -> None:
    assert {*ENDINGS, "findings"} == set(FORMATS)
    needing = [name for name in FORMATS if needs_logits(name)]
    assert needing == ["probabilities", "dicom_seg", "geojson", "findings"]  # the last three for the scores of lesions


def test_results_of_threads_and_of_two_processes_are_those_of_one(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte, also if a killed process left its rows."""
    source = write_images(tmp_path / "in", *"abcde")
    (source / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    formats = ["nifti", "png", "overlay", "probabilities", "geojson", "findings"]
    how: dict[str, Any] = {"dataset_dir": str(source), "formats": formats}
    trained(results_dir=str(tmp_path / "one"), workers=0, **how)
    trained(results_dir=str(tmp_path / "threads"), workers=2, **how)
    for number in (1, 0):
        for name, value in (("rank", number), ("world_size", 2), ("is_main", number == 0)):
            monkeypatch.setattr(infer_module, name, lambda value=value: value)
        trained(results_dir=str(tmp_path / "two"), workers=1, **how)
    monkeypatch.undo()
    killed = tmp_path / "killed"
    shutil.copytree(tmp_path / "one", killed)
    rows = (killed / "findings.csv").read_text().splitlines(keepends=True)
    (killed / "findings.csv").write_text("".join(rows[:3]))
    (killed / "findings.part-1.csv").write_text("".join([rows[0], *rows[3:5]]))
    (killed / "e.geojson").unlink()
    trained(results_dir=str(killed), workers=2, resume=True, **how)

    def content(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    assert len(content(tmp_path / "one")) == 5 * 5 + 1
    for other in ("threads", "two", "killed"):
        assert content(tmp_path / other) == content(tmp_path / "one"), other
