"""Every breast on one side: by laterality, else by the pixels; image and label together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from dicom_factory import write_dicom
from PIL import Image

from scripts.prepare import main
from transforms.dataset import Dataset, open_array
from transforms.flip import mirrored, must_flip, side_of_pixels

LEFT = np.zeros((6, 8), np.uint16)
LEFT[:, :3] = 1000  # a breast at the left edge, as a left one is acquired
RIGHT = LEFT[:, ::-1]


@pytest.mark.parametrize("pixels", [LEFT, LEFT[:, :7], np.repeat(LEFT[:, :, None], 3, axis=2)])
def test_the_brighter_half(pixels) -> None:
    assert side_of_pixels(pixels) == "left"
    assert side_of_pixels(mirrored(pixels)) == "right"
    assert side_of_pixels(pixels * 0) is None
    assert side_of_pixels(np.ones((4, 5), np.uint8)) is None


@pytest.mark.parametrize(
    ("pixels", "laterality", "to", "answer"),
    [
        (LEFT, "L", "none", (False, None)),
        (RIGHT, None, "none", (False, None)),
        (LEFT, "L", "left", (False, None)),
        (LEFT, "L", "right", (True, None)),
        (RIGHT, "R", "left", (True, None)),
        (RIGHT, None, "left", (True, None)),
        (LEFT, None, "left", (False, None)),
        (LEFT, "R", "left", (True, "disagrees")),
        (RIGHT, "L", "left", (False, "disagrees")),
        (LEFT * 0, "R", "left", (True, None)),
        (LEFT * 0, None, "left", (False, "unknown")),
    ],
)
def test_laterality_decides_then_the_pixels(pixels, laterality, to, answer) -> None:
    assert must_flip(pixels, laterality, to) == answer


def make_source(folder: Path) -> None:
    """Four people: a left breast, a right one, one that does not say, and one that is stored mirrored."""
    (folder / "labels").mkdir(parents=True)
    for name, pixels, side in (("a", LEFT, "L"), ("b", RIGHT, "R"), ("c", RIGHT, ""), ("d", LEFT, "R")):
        write_dicom(folder / "images" / f"{name}.dcm", pixels, PatientID=name, ImageLaterality=side)
        Image.fromarray((pixels > 0).astype(np.uint8)).save(folder / "labels" / f"{name}.png")


def test_image_and_label_are_mirrored_together_and_it_is_recorded(tmp_path, capsys) -> None:
    make_source(tmp_path)
    places = [str(tmp_path / name) for name in ("images", "labels", "out")]
    assert main(["folder", *places, "--values", "0=background,1=breast", "--flip", "left", "--json"]) == 0
    notes = "\n".join(json.loads(capsys.readouterr().out)["notes"])
    assert "3 images and their labels were mirrored" in notes
    assert "1 images are brighter on the side opposite to their laterality, check them: s004_R" in notes
    content = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert content["flip"] == "left"
    entries = {entry["subject"]: entry for part in ("training", "validation") for entry in content[part]}
    assert {subject: entry["flipped"] for subject, entry in sorted(entries.items())} == {
        "s001": False,
        "s002": True,
        "s003": True,
        "s004": True,
    }
    dataset = Dataset.load(tmp_path / "out")
    for item in dataset.items("training") + dataset.items("validation"):
        image, label = open_array(item["image"]), open_array(item["label"])
        np.testing.assert_array_equal(image > 0, label > 0)
        assert side_of_pixels(image) == ("right" if item["subject"] == "s004" else "left")


def test_unknown_side_and_option(tmp_path, capsys) -> None:
    make_source(tmp_path)
    write_dicom(tmp_path / "images" / "c.dcm", LEFT * 0, PatientID="c")
    places = [str(tmp_path / name) for name in ("images", "labels", "out")]
    values = ["--values", "0=background,1=breast"]
    assert main(["folder", *places, *values, "--flip", "up"]) == 2
    assert "--flip is 'up'; expected none, left, right" in capsys.readouterr().err
    assert main(["folder", *places, *values, "--flip", "right", "--json"]) == 0
    assert "do not show on which side their breast is" in capsys.readouterr().out
