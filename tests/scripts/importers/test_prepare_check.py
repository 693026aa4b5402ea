"""`scripts.prepare check` finds what would spoil a training."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.importers.import_options import ImportOptions
from scripts.importers.writing import integrity
from scripts.importers.writing.cases import Case
from scripts.importers.writing.integrity import check_dataset
from scripts.importers.writing.sheet import CAPTION, HEIGHT, RED
from scripts.importers.writing.summary_tables import report_dict
from scripts.importers.writing.writer import write_dataset
from scripts.prepare import main
from transforms.known_files import VARIABLE
from transforms.palette import PALETTE
from transforms.reading.mammogram import Mammogram

QUIET = ImportOptions(progress=False)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Four subjects, two classes that both occur in every image; subject 1 and 2 train, see `TRAINING`."""
    cases = []
    for number in range(4):
        pixels = (np.arange(48).reshape(8, 6) + number).astype(np.uint16)
        image = Mammogram(pixels, (0, 4095), "L", "CC", (0.1, 0.1))
        label = np.repeat(np.array([[0, 1]], np.uint8), 8, 0).repeat(3, 1)
        cases.append(Case(Path(__file__), str(number), lambda i=image: i, lambda shape, m=label: m))
    write_dataset(tmp_path / "data", cases, QUIET, labels=["background", "gland"])
    return tmp_path / "data"


def content(dataset: Path) -> dict:
    return json.loads((dataset / "dataset.json").read_text())


def change(dataset: Path, **keys) -> None:
    (dataset / "dataset.json").write_text(json.dumps({**content(dataset), **keys}))


def check(dataset: Path, capsys) -> tuple[int, dict]:
    code = main(["check", str(dataset), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_good_dataset(dataset, capsys) -> None:
    code, report = check(dataset, capsys)
    assert (code, report["errors"], report["warnings"]) == (0, [], [])
    assert report["images"] == {"training": 3, "validation": 1, "test": 0}
    assert report["pixels"]["training"] == {"background": 72, "gland": 72}
    assert main(["check", str(dataset)]) == 0
    assert "50.00 %" in capsys.readouterr().out


def test_labels_and_images_that_cannot_be_shown_cost_neither_report_nor_sheet(dataset, tmp_path, capsys) -> None:
    sheet = tmp_path / "new folder" / "sheet.png"
    first, second, third = sorted((dataset / "labels").glob("*.npy"))[:3]
    np.save(first, np.zeros((3, 2), np.uint8))
    np.save(second, np.zeros((8, 6, 3), np.uint8))
    third.write_bytes(b"")
    np.save(sorted((dataset / "images").glob("*.npy"))[3], np.full((8, 6), np.nan))
    assert main(["check", str(dataset), "--json", "--sheet", str(sheet), "--quiet"]) == 1
    assert len(json.loads(capsys.readouterr().out)["errors"]) >= 4
    with Image.open(sheet) as image:
        tiles = [image.getpixel((5 + number * (HEIGHT + 2), CAPTION + 5)) for number in range(4)]
    assert tiles == [RED] * 4
    assert main(["check", str(dataset), "--sheet", str(tmp_path / "sheet.odd"), "--quiet"]) == 2
    printed = capsys.readouterr()
    assert "error: " in printed.out
    assert "sheet.odd: cannot be written" in printed.err


def test_sheet_of_thumbnails(dataset, tmp_path) -> None:
    assert main(["check", str(dataset), "--sheet", str(tmp_path / "sheet.png")]) == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.mode == "RGB"
        pixels = np.asarray(sheet).astype(int)
    blue_over_red = pixels[..., 2] - pixels[..., 0]  # the images are gray: only the tint of class 1 has any
    assert blue_over_red.min() >= -6  # enlarging overshoots at edges
    assert blue_over_red.max() == pytest.approx(0.4 * (PALETTE[1][2] - PALETTE[1][0]), abs=6)


def test_changed_files(dataset, capsys) -> None:
    first = dataset / content(dataset)["training"][0]["image"]
    pixels = np.load(first)
    np.save(first, pixels + 1)
    second = dataset / content(dataset)["training"][1]["label"]
    np.save(second, np.load(second) * 255)
    code, report = check(dataset, capsys)
    assert code == 1
    assert "changed since it was imported" in report["errors"][0]
    assert "0, 255; allowed are 0, 1" in report["errors"][1]


def test_a_subject_in_two_sections_and_a_copied_image(dataset, capsys) -> None:
    stored = content(dataset)
    change(dataset, validation=[*stored["validation"], stored["training"][0]])
    code, report = check(dataset, capsys)
    assert code == 1
    assert "1 subjects are in two sections" in report["errors"][0]
    assert "1 images are in two sections: s00" in report["errors"][1]


def test_fractions_that_are_not_those_of_the_labels(dataset, capsys) -> None:
    change(dataset, pixel_fraction={"background": 0.9, "gland": 0.1})
    code, report = check(dataset, capsys)
    assert code == 1
    assert "the loss weights are wrong" in report["errors"][0]


def test_values_outside_the_range(dataset, capsys) -> None:
    training = content(dataset)["training"]
    training[0]["intensity_range"] = [0, 20]
    change(dataset, training=training)
    code, report = check(dataset, capsys)
    assert code == 1
    assert "outside its intensity_range [0, 20]" in report["errors"][0]


def test_warnings(dataset, capsys) -> None:
    training = content(dataset)["training"]
    training[0]["spacing_mm"] = None
    training[1]["spacing_mm"] = [0.2, 0.2]
    change(
        dataset,
        training=training,
        labels={"0": "background", "1": "gland", "2": "tumor"},
        pixel_fraction={"background": 0.5, "gland": 0.5, "tumor": 0.0},
    )
    np.save(dataset / "images" / "left over.npy", np.zeros((3, 3), np.uint8))
    code, report = check(dataset, capsys)
    assert code == 0
    text = "\n".join(report["warnings"])
    for part in (
        "no training pixel of tumor",
        "no validation pixel of tumor",
        "1 of 4 images have no pixel spacing",
        "pixel spacing varies from 0.1 to 0.2 mm",
        "1 files are in no section, such as left over.npy",
    ):
        assert part in text


def test_not_a_dataset(tmp_path, capsys) -> None:
    assert main(["check", str(tmp_path / "nothing")]) == 2
    assert "not a dataset folder" in capsys.readouterr().err


def test_colour_images_are_written_checked_and_shown(tmp_path, capsys) -> None:
    """Photographs, as of Cityscapes; mammograms are gray."""
    cases = []
    for number in range(3):
        image = Mammogram(np.random.default_rng(number).integers(0, 256, (8, 12, 3), np.uint8), (0, 255))
        label = np.eye(8, 12, dtype=np.uint8)
        cases.append(
            Case(
                Path(__file__),
                str(number),
                lambda i=image: i,
                lambda shape, m=label: m if shape == (8, 12) else None,
            )
        )
    write_dataset(tmp_path / "data", cases, ImportOptions(flip="left", progress=False), labels=["road", "car"])
    sheet = tmp_path / "sheet.png"
    assert main(["check", str(tmp_path / "data"), "--json", "--sheet", str(sheet)]) == 0
    assert json.loads(capsys.readouterr().out)["errors"] == []
    with Image.open(sheet) as picture:
        assert np.ptp(np.asarray(picture).astype(int), axis=2).max() > 100
    stored = np.load(next((tmp_path / "data" / "images").iterdir()))
    assert (stored.shape, stored.dtype) == ((8, 12, 3), np.uint8)
    assert main(["check", str(tmp_path / "data")]) == 0
    assert "rows" in capsys.readouterr().out


def test_a_file_that_cannot_be_read_and_images_of_one_value(dataset, capsys) -> None:
    stored = content(dataset)["training"]
    (dataset / stored[0]["image"]).write_bytes(b"junk")
    np.save(dataset / stored[1]["image"], np.full((8, 6), 7, np.uint16))
    stored[1]["image_sha256"] = None
    del stored[1]["image_sha256"]
    stored[2]["spacing_mm"] = [0.1, 0.05]
    change(dataset, training=stored)
    code, report = check(dataset, capsys)
    assert code == 1
    assert "not a NumPy array that can be read" in report["errors"][0]
    text = "\n".join(report["warnings"])
    assert "1 images hold one value only" in text
    assert "1 images have pixels that are not square" in text


def test_row_counts_of_another_label_map(dataset, capsys) -> None:
    kept = sorted((dataset / "row_counts").iterdir())[0]
    np.save(kept, np.load(kept)[:, ::-1] + 1)
    code, report = check(dataset, capsys)
    assert code == 1
    assert f"{kept.name}: does not match" in report["errors"][0]
    kept.unlink()
    assert check(dataset, capsys)[0] == 0


def test_a_folder_of_images_only(tmp_path, capsys) -> None:
    image = Mammogram(np.arange(48, dtype=np.uint16).reshape(8, 6), (0, 4095))
    write_dataset(tmp_path / "d", [Case(Path(__file__), "1", lambda: image)], QUIET, images_only=True)
    code, report = check(tmp_path / "d", capsys)
    assert (code, report["errors"], report["warnings"]) == (0, [], [])
    assert main(["check", str(tmp_path / "d"), "--sheet", str(tmp_path / "sheet.png")]) == 0


def test_in_two_processes(dataset) -> None:
    assert report_dict(check_dataset(dataset, workers=2)) == report_dict(check_dataset(dataset))


def test_what_goes_to_another_process_for_an_image_does_not_grow_with_their_number(dataset, monkeypatch) -> None:
    sent: list[int] = []

    def here(function, tasks, workers, lost) -> Iterator:
        for task in tasks:
            sent.append(len(pickle.dumps(task)))
            yield function(task)

    monkeypatch.setattr(integrity, "in_order", here)
    check_dataset(dataset)
    few = max(sent)
    change(dataset, test=[content(dataset)["training"][0]] * 100)
    sent.clear()
    check_dataset(dataset)
    assert len(sent) == 104
    assert max(sent) < few + 100


def test_nothing_is_kept_of_each_file(dataset, monkeypatch, tmp_path) -> None:
    """The cache of known files would be rewritten for every image."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    assert check_dataset(dataset).errors == []
    assert not (tmp_path / "cache").exists()
