"""Panels, tables and progress lines."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine

from engines.base.paths import as_path
from engines.inference.whole_image import WholeImageInferer
from engines.records.panels import PanelSaver, panel
from engines.records.score_table import class_table, score_table
from engines.runs.infer import find_images
from engines.scoring.metrics import scores
from nets import FCN
from transforms.errors import UserError
from transforms.palette import CITYSCAPES, PALETTE, VOID_COLOUR, WRONG, class_colours, colour, difference, overlay


def test_colours_of_classes_and_void() -> None:
    picture = colour(np.array([[0, 1], [2, 255]], np.uint8), ["a", "b", "c"])
    assert [tuple(v) for v in picture.reshape(-1, 3)] == [PALETTE[0], PALETTE[1], PALETTE[2], VOID_COLOUR]


def test_classes_of_cityscapes_have_their_official_colours() -> None:
    assert class_colours(["road", "sky"]) == [(128, 64, 128), (70, 130, 180)]
    assert class_colours(["road", "tumor"]) == list(PALETTE[:2])
    assert WRONG not in (*PALETTE, *CITYSCAPES.values(), VOID_COLOUR)


def test_difference_marks_wrong_pixels_only() -> None:
    picture = difference(np.array([[0, 1, 255]]), np.array([[0, 2, 1]]), 3)
    right, wrong, void = (tuple(v) for v in picture[0])
    assert len({right, wrong, void}) == 3
    assert void == VOID_COLOUR


def test_overlay_leaves_background_as_it_is() -> None:
    image = np.full((1, 2, 3), 100, np.uint8)
    out = overlay(image, np.array([[0, 1]]), 2)
    assert (out[0, 0] == 100).all()
    assert not (out[0, 1] == 100).all()


def test_panel_holds_four_pictures_a_row_and_a_legend() -> None:
    row = ("s001_L_CC", np.zeros((50, 40, 3), np.uint8), np.ones((50, 40), np.uint8), np.zeros((50, 40), np.uint8))
    picture = panel([row, row], ["background", "a class with a very long name"] * 12)
    assert picture.width == 420
    assert picture.height > 2 * 70 + 20


def test_panel_saver_leaves_one_file_per_subject_of_the_last_run(tmp_path: Path) -> None:
    label = torch.zeros(1, 32, 24, dtype=torch.uint8)
    evaluator = Engine(lambda engine, batch: [{"image": torch.zeros(3, 8, 6), "label": label, "pred": label}])
    cases = [("s1", "s1_L"), ("s1", "s1_R"), ("s2", "s2_L")]
    (tmp_path / "s9.png").touch()  # of an earlier run
    (tmp_path / "mine.txt").touch()
    handles = PanelSaver(tmp_path, ["background", "gland"], height=16).attach(evaluator)
    evaluator.run([[{"subject": subject, "case": case}] for subject, case in cases])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.txt", "s1.png", "s2.png"]
    for handle in handles:
        handle.remove()
    evaluator.run([[{"subject": "s3", "case": "s3_L"}]])
    assert not (tmp_path / "s3.png").exists()


def test_score_table_is_in_per_cent_with_names() -> None:
    text = score_table({"front": {"pixel_accuracy": 0.9303, "mean_iou": 0.4765, "mean_class_accuracy": math.nan}}, "T")
    assert text.splitlines()[-1].split() == ["front", "93.03", "47.65", "n/a"]


def test_class_table_says_over_how_many_classes_the_mean_is() -> None:
    text = class_table(scores([[3, 1, 0], [1, 3, 0], [0, 0, 0]], ["a", "b", "c"]))
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["Class", "IoU", "Dice", "Sens.", "Spec.", "Prec."]
    assert lines[2] == ["a", "60.00", "75.00", "75.00", "75.00", "75.00"]
    assert lines[4] == ["c", "n/a", "n/a", "n/a", "100.00", "n/a"]
    assert lines[-1] == ["Mean", "Dice", "75.00,", "frequency-weighted", "IoU", "60.00"]
    assert "n/a" in text
    assert "the 2 of 3 classes" in text


def test_find_images(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        find_images(tmp_path / "x")
    with pytest.raises(UserError, match="no image in it"):
        find_images(tmp_path)
    for name in ("a.dcm", "b/1-1", "b/c.png", "b/c.dcm", "notes.txt", "a.geojson", ".hidden", "DICOMDIR"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [item["name"] for item in find_images(tmp_path)] == ["a", "b/1-1", "b/c.dcm", "b/c.png"]
    assert [item["name"] for item in find_images(tmp_path / "a.dcm")] == ["a"]
    assert [item["name"] for item in find_images(tmp_path, tmp_path / "b")] == ["a"]
    results_above = find_images(tmp_path / "b", tmp_path)
    assert [item["name"] for item in results_above] == ["1-1", "c.dcm", "c.png"]
    for name in ("n/x.nii.gz", "n/1.2.840.5", "n/1.2.840.6"):  # one compressed NIfTI, two DICOM names without ending
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [item["name"] for item in find_images(tmp_path / "n")] == ["1.2.840.5", "1.2.840.6", "x"]


def test_names_stay_different(tmp_path: Path) -> None:
    for name in ("a.dcm", "a.png", "a.png.dcm", "b.png"):
        (tmp_path / name).touch()
    items = {Path(item["image"]).name: item["name"] for item in find_images(tmp_path)}
    assert items == {"a.dcm": "a.dcm", "a.png": "a.png", "a.png.dcm": "a.png.dcm", "b.png": "b"}


def test_results_are_no_images_and_do_not_lie_among_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "mammoseg")
    for name in ("a.dcm", "old/a_seg.nii.gz", "old/a_labels.png", "old/a_seg.dcm", "old/z_labels.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [item["name"] for item in find_images(tmp_path)] == ["a", "old/z_labels"]
    assert "3 files are named like results of other images" in caplog.text
    with pytest.raises(UserError, match=r"--results_dir .*: holds the images"):
        find_images(tmp_path, tmp_path / "old" / "..")


def test_the_images_of_a_dataset_folder_and_not_its_labels(tiny_dataset: Path) -> None:
    items = find_images(tiny_dataset)
    assert [item["name"] for item in items] == [f"s{number:03d}_L_CC" for number in range(6)]
    assert {Path(item["image"]).parent.name for item in items} == {"images"}
    assert items[0]["recorded"]["intensity_range"] == [0, 4095]


def test_a_dataset_json_of_another_tool_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "dataset.json").write_text('{"channel_names": {"0": "MG"}, "file_ending": ".png"}')
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "imagesTr" / "a_0000.png").touch()
    assert [item["name"] for item in find_images(tmp_path)] == ["imagesTr/a_0000"]
    assert "treated as an ordinary folder of images" in caplog.text


def test_a_dataset_folder_that_does_not_open_is_no_folder_of_images(tiny_dataset: Path) -> None:
    """Its labels would be segmented as images, and images lose what is recorded of them."""
    (tiny_dataset / "labels" / "s000_L_CC.npy").unlink()
    with pytest.raises(UserError, match=r"s000_L_CC\.npy: missing, though"):
        find_images(tiny_dataset)
    cut = (tiny_dataset / "dataset.json").read_text()[:-20]
    (tiny_dataset / "dataset.json").write_text(cut)
    with pytest.raises(UserError, match="not readable JSON"):
        find_images(tiny_dataset)


def test_images_above_the_limit_go_in_tiles_with_the_same_result() -> None:
    network, image = FCN(3, width=0.02).eval(), torch.rand(1, 3, 96, 72)
    seen: list[tuple[int, ...]] = []
    network.conv1_1.register_forward_hook(lambda layer, args, result: seen.append(tuple(args[0].shape[-2:])))
    with torch.no_grad():
        whole = WholeImageInferer(max_pixels=96 * 72)(image, network)
        assert seen == [(96, 72)]
        tiles = WholeImageInferer(max_pixels=96 * 72 - 1, memory_gb=0.0005)(image, network)
    assert len(seen) > 2
    assert torch.allclose(tiles, whole, atol=1e-5)


def test_a_hash_in_a_path_survives_monai(tmp_path: Path) -> None:
    (tmp_path / "a::b").mkdir()
    assert as_path(tmp_path / "a::b") == tmp_path / "a::b"
    assert as_path(f"{tmp_path}/set ::1") == tmp_path / "set #1"


@pytest.mark.parametrize("read", [2024, [], 1.5])
def test_a_path_that_is_read_as_a_number_or_a_list(read: object) -> None:
    """As fire reads `--dataset_dir 2024`."""
    with pytest.raises(UserError, match=r"expected a path; specify it as in \./"):
        as_path(read)  # type: ignore[arg-type]
