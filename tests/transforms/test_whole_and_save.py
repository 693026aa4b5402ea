"""Whole images in, label maps out: values, orientation, geometry."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from dicom_factory import write_dicom
from PIL import Image

from engines.records.tables import read_csv
from transforms.argmax import ArgmaxLiked
from transforms.errors import UserError
from transforms.load import LoadLabeld, LoadWholed
from transforms.normalize import NormalizeRanged
from transforms.outputs.nifti import save_nifti
from transforms.outputs.png import save_indexed_png
from transforms.outputs.save import SaveSegmentationd
from transforms.palette import PALETTE
from transforms.reading.load_mammogram import LoadMammogramd
from transforms.unmirror import Unmirrord


def test_normalisation_uses_the_possible_values_not_the_observed_ones() -> None:
    image = torch.tensor([[[0.0, 2047.5, 4095.0]]])
    out = NormalizeRanged("image")({"image": image, "intensity_range": [0, 4095]})
    assert out["image"].flatten().tolist() == [-0.5, 0.0, 0.5]
    assert image[0, 0, 2] == 4095  # the input is left alone


def test_whole_image_is_rows_by_columns(tmp_path: Path) -> None:
    pixels = np.zeros((40, 20), np.uint16)
    pixels[:10, 15:] = 1000
    np.save(tmp_path / "i.npy", pixels)
    full = LoadWholed("image")({"image": str(tmp_path / "i.npy")})["image"]
    assert torch.equal(full[0], torch.from_numpy(pixels.astype(np.float32)))
    small = LoadWholed("image", image_height=20)({"image": str(tmp_path / "i.npy")})["image"]
    assert small.shape == (1, 20, 10)
    assert small[0, 2, 9] > 900 > 100 > small[0, 12, 9]
    assert LoadLabeld("label")({"label": str(tmp_path / "i.npy")})["label"].shape == (1, 40, 20)


def test_any_picture_is_read_with_its_size_and_range(tmp_path: Path) -> None:
    Image.fromarray(np.arange(30 * 14, dtype=np.uint8).reshape(30, 14)).save(tmp_path / "a.png")
    out = LoadMammogramd("image", image_height=15)({"image": str(tmp_path / "a.png")})
    assert out["image"].shape == (1, 15, 7)
    assert out["original_size"] == [30, 14]
    assert list(out["intensity_range"]) == [0, 255]
    assert out["spacing_mm"] == [1.0, 1.0]


def test_twelve_bits_in_a_sixteen_bit_picture_are_asked_about_or_stated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = np.full((30, 14), 4095, np.uint16)
    pixels[0] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with caplog.at_level("WARNING", "mammoseg"):
        assert LoadMammogramd("image", bits=12)({"image": tmp_path / "a.png"})["intensity_range"] == [0, 4095]
        assert not caplog.records
        LoadMammogramd("image")({"image": tmp_path / "a.png"})
    assert "a.png: no pixel exceeds 4095 of 65535 possible" in caplog.text
    assert "--bits" in caplog.text


def test_argmax_at_the_size_of_the_label_or_the_original() -> None:
    logits = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    by_label = ArgmaxLiked("pred", like="label")({"pred": logits, "label": torch.zeros(1, 2, 4)})["pred"]
    by_size = ArgmaxLiked("pred", size_key="size")({"pred": logits, "size": [2, 4]})["pred"]
    assert by_label.tolist() == by_size.tolist() == [[[0, 0, 1, 1], [0, 0, 1, 1]]]
    with pytest.raises(ValueError, match="specify either like or size_key"):
        ArgmaxLiked("pred")


def test_nifti_has_columns_first_and_the_spacing(tmp_path: Path) -> None:
    label = np.arange(6, dtype=np.uint8).reshape(2, 3)
    save_nifti(label, (0.2, 0.1), tmp_path / "a.nii.gz")
    back = nib.load(tmp_path / "a.nii.gz")
    assert back.shape == (3, 2, 1)
    assert back.header.get_zooms()[:2] == pytest.approx((0.1, 0.2))
    assert np.asarray(back.dataobj)[2, 1, 0] == label[1, 2]
    assert nib.aff2axcodes(back.affine) == ("L", "P", "S")


def test_nothing_of_the_source_but_pixels_and_spacing_is_written(tmp_path: Path) -> None:
    item = {
        "pred": torch.ones(1, 4, 4, dtype=torch.uint8),
        "image": torch.zeros(3, 4, 4),
        "name": "a/b",
        "spacing_mm": [0.1, 0.1],
        "PatientName": "PLANTED^NAME",
    }
    SaveSegmentationd("pred", str(tmp_path), num_classes=2)(item)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert sorted(p.name for p in files) == ["b_labels.png", "b_overlay.png", "b_seg.nii.gz"]
    assert not any(b"PLANTED" in p.read_bytes() for p in files)


def test_unknown_format() -> None:
    with pytest.raises(ValueError, match="unknown dicom; choose from nifti"):
        SaveSegmentationd("pred", ".", 2, formats=["dicom"])


@pytest.mark.parametrize(
    ("spacing", "given", "area"),
    [([70, 70], None, ""), ([70, 70], 0.5, "4.00"), ([0.5, 0.5], None, "4.00")],
    ids=["implausible", "specified", "stated"],
)
def test_areas_only_with_a_known_spacing(
    spacing: list[float], given: float | None, area: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = np.arange(2400, dtype=np.uint16).reshape(60, 40)
    file = write_dicom(tmp_path / "a.dcm", pixels, PixelSpacing=spacing)
    item = LoadMammogramd("image", spacing=given)({"image": file})
    item["pred"] = torch.zeros(1, 60, 40)
    item["pred"][0, :4, :4] = 1
    save = SaveSegmentationd("pred", str(tmp_path), 2, labels=["background", "tumor"], formats=["findings"])
    save({**item, "name": "a"})
    (row,) = read_csv(tmp_path / "findings.csv")
    assert (row["tumor_px"], row["tumor_mm2"]) == ("16", area)
    assert ("no areas in mm²" in caplog.text) == (area == "")


def test_a_mirrored_image_comes_back_as_it_was(tmp_path: Path) -> None:
    pixels = np.zeros((8, 10), np.uint8)
    pixels[:, :4] = 200  # the chest wall is at the left
    pixels[0, 0] = 90
    Image.fromarray(pixels).save(tmp_path / "x.png")
    read = LoadMammogramd("image", flip="right")({"image": tmp_path / "x.png"})
    assert read["mirrored"] is True
    assert read["image"][0, 0, 9] == 90
    assert torch.equal(Unmirrord("image")(read)["image"][0], torch.from_numpy(pixels.astype(np.float32)))
    same = LoadMammogramd("image", flip="left")({"image": tmp_path / "x.png"})
    assert same["mirrored"] is False
    assert torch.equal(Unmirrord("image")(same)["image"], same["image"])


def test_logits_are_kept_if_asked_and_come_back_as_the_label_map_does() -> None:
    item = {"pred": torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]]), "size": [1, 2], "mirrored": True}
    kept = Unmirrord(["pred", "logits"])(ArgmaxLiked("pred", size_key="size", keep_key="logits")(item))
    assert kept["pred"].tolist() == [[[1, 0]]]
    assert kept["logits"].tolist() == [[[0.0, 1.0]], [[2.0, 0.0]]]
    dropped = Unmirrord(["pred", "logits"], allow_missing_keys=True)(ArgmaxLiked("pred", size_key="size")(item))
    assert "logits" not in dropped


def test_predictions_in_the_values_of_the_source(tmp_path: Path) -> None:
    item = {
        "pred": torch.tensor([[[0, 1], [2, 0]]], dtype=torch.uint8),
        "image": torch.zeros(1, 2, 2),
        "name": "a",
        "spacing_mm": [1.0, 1.0],
    }
    SaveSegmentationd("pred", str(tmp_path), 3, formats=["source"], source_values=[64, 128, 255])(item)
    assert np.asarray(Image.open(tmp_path / "a_source.png")).tolist() == [[64, 128], [255, 64]]
    with pytest.raises(UserError, match="made from label images"):
        SaveSegmentationd("pred", str(tmp_path), 3, formats=["source"])


def test_a_label_picture_has_a_colour_for_every_number(tmp_path: Path) -> None:
    """More classes than the palette has colors: readers refuse a number behind its end."""
    label = np.arange(256, dtype=np.uint8).reshape(16, 16)
    save_indexed_png(label, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(image), label)
        colours = np.array(image.getpalette()).reshape(-1, 3)
    assert colours.shape == (256, 3)
    assert [tuple(colours[n]) for n in (0, 19, 20, 255)] == [PALETTE[0], PALETTE[19], PALETTE[0], PALETTE[255 % 20]]
