"""Headers as devices and programs write them: tables, overlays, attributes that are odd or absent, spacing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_factory import lut_item, mammogram_header, ramp, write_dicom
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import ExplicitVRBigEndian, RLELossless

from transforms.errors import UserError
from transforms.reading.load_mammogram import LoadMammogramd
from transforms.reading.mammogram import read_mammogram

PIXELS = ramp((64, 64))  # 0 … 4095, each once


@pytest.mark.parametrize(("stated", "table", "top"), [
    (16, range(4096), 4095),
    (12, range(4096), 4095),
    (8, range(4096), 4095),
    (16, range(0, 65536, 16), 65535),
    (12, [min(v, 3000) for v in range(4096)], 4095),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["VOILUTSequence", "ModalityLUTSequence"])
def test_the_range_is_that_of_the_table_itself(
    tmp_path: Path, kind: str, stated: int, table: list[int], top: int
) -> None:
    """A table whose stated depth is more (nearly black) or less (clipped) than it holds."""
    image = read_mammogram(write_dicom(tmp_path / "a.dcm", PIXELS, **{kind: [lut_item(table, bits=stated)]}))
    assert image.intensity_range == (0, top)
    expected = np.array(table)[PIXELS]
    if kind == "ModalityLUTSequence":  # without a window, what the table holds becomes black to white
        expected = expected * (top / max(table))
    np.testing.assert_allclose(image.pixels, expected, atol=1)


def table_item(vr: str, data: Any, descriptor: list[int], descriptor_vr: str = "US") -> Dataset:
    item = Dataset()
    item.add_new(0x00283002, descriptor_vr, descriptor)
    item.add_new(0x00283006, vr, data)
    return item


@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize("vr", ["US", "OW"])
def test_table_data_have_the_byte_order_of_the_file(tmp_path: Path, little: bool, vr: str) -> None:
    table = np.arange(4096)[::-1]
    data = table.tolist() if vr == "US" else table.astype("<u2" if little else ">u2").tobytes()
    header = mammogram_header(PIXELS if little else PIXELS.astype(">u2"))
    header.VOILUTSequence = [table_item(vr, data, [4096, 0, 12])]
    if not little:
        header.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        header.set_original_encoding(False, False)
    header.save_as(tmp_path / "a.dcm", implicit_vr=False, little_endian=little, enforce_file_format=True)
    np.testing.assert_array_equal(read_mammogram(tmp_path / "a.dcm").pixels, table[PIXELS])


@pytest.mark.parametrize("little", [True, False])
def test_two_entries_of_eight_bits_in_a_word(tmp_path: Path, little: bool) -> None:
    table = np.arange(256, dtype=np.uint8)[::-1]
    data = table if little else table.reshape(-1, 2)[:, ::-1]
    header = mammogram_header(PIXELS % 256 if little else (PIXELS % 256).astype(">u2"))
    header.VOILUTSequence = [table_item("OW", data.tobytes(), [256, 0, 8])]
    if not little:
        header.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        header.set_original_encoding(False, False)
    header.save_as(tmp_path / "a.dcm", implicit_vr=False, little_endian=little, enforce_file_format=True)
    np.testing.assert_array_equal(read_mammogram(tmp_path / "a.dcm").pixels, table[PIXELS % 256])


@pytest.mark.parametrize(("vr", "first"), [("US", 40000), ("SS", 40000 - 2**16)])
def test_first_value_of_unsigned_pixels_in_either_sign(tmp_path: Path, vr: str, first: int) -> None:
    pixels = (40000 + PIXELS).astype(np.uint16)
    item = table_item("US", list(range(4096)), [4096, first, 12], vr)
    image = read_mammogram(write_dicom(tmp_path / "a.dcm", pixels, 16, VOILUTSequence=[item]))
    np.testing.assert_array_equal(image.pixels, PIXELS)


@pytest.mark.parametrize(("vr", "first"), [("SS", -2048), ("US", 2**16 - 2048)])
def test_first_value_of_signed_pixels_in_either_sign(tmp_path: Path, vr: str, first: int) -> None:
    pixels = (PIXELS.astype(np.int32) - 2048).astype(np.int16)
    item = table_item("US", list(range(4096)), [4096, first, 12], vr)
    image = read_mammogram(write_dicom(tmp_path / "a.dcm", pixels, VOILUTSequence=[item]))
    np.testing.assert_array_equal(image.pixels, PIXELS)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_above_the_bits_stored_is_no_part_of_the_value(tmp_path: Path, packed: bool, signed: bool) -> None:
    """An overlay in bit 12, as old devices store it; in uncompressed and in lossless compressed pixels."""
    overlay = PIXELS | np.where(np.eye(64, dtype=bool), 0x1000, 0).astype(np.uint16)
    header = mammogram_header(overlay.astype(np.int16) if signed else overlay)
    if packed:
        header.file_meta.TransferSyntaxUID = RLELossless
        frame = RLELosslessEncoder.encode(
            overlay, rows=64, columns=64, samples_per_pixel=1, bits_allocated=16, bits_stored=16, number_of_frames=1,
            pixel_representation=0, photometric_interpretation="MONOCHROME2", encoding_plugin="pydicom",
        )  # fmt: skip
        header.PixelData = encapsulate([frame])
        header["PixelData"].is_undefined_length = True
    header.save_as(tmp_path / "a.dcm")
    np.testing.assert_array_equal(
        read_mammogram(tmp_path / "a.dcm").pixels, (PIXELS.astype(int) + 2048) % 4096 if signed else PIXELS
    )


def test_bits_are_heard_for_dicom_as_well(tmp_path: Path) -> None:
    """What the note on unused bits advises."""
    path = write_dicom(tmp_path / "a.dcm", PIXELS, 16)
    assert read_mammogram(path).intensity_range == (0, 65535)
    image = read_mammogram(path, bits=12)
    assert image.intensity_range == (0, 4095)
    np.testing.assert_array_equal(image.pixels, PIXELS)
    inverted = read_mammogram(write_dicom(path, PIXELS, 16, PhotometricInterpretation="MONOCHROME1"), bits=12)
    np.testing.assert_array_equal(inverted.pixels, 4095 - PIXELS)
    with pytest.raises(UserError, match=r"a\.dcm: values up to 4095 exceed the specified 10 bits"):
        read_mammogram(path, bits=10)


NAMED = {
    "PhotometricInterpretation is missing": dict(PhotometricInterpretation=None),
    "RescaleSlope is 0": dict(RescaleSlope=0, RescaleIntercept=5),
    "WindowWidth is 0, too small": dict(WindowCenter=5, WindowWidth=0),
    "PixelPaddingValue and PixelPaddingRangeLimit make all values padding": dict(
        PixelPaddingValue=0, PixelPaddingRangeLimit=4095
    ),
    "VOILUTFunction is none of": dict(WindowCenter=5, WindowWidth=9, VOILUTFunction="LIN"),
}


@pytest.mark.parametrize("reason", NAMED)
def test_the_attribute_is_named(tmp_path: Path, reason: str) -> None:
    with pytest.raises(UserError, match=rf"a\.dcm: .*{reason}.*; "):
        read_mammogram(write_dicom(tmp_path / "a.dcm", PIXELS, **NAMED[reason]))


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_odd_attributes_whose_meaning_is_plain(tmp_path: Path) -> None:
    lower = read_mammogram(write_dicom(tmp_path / "a.dcm", PIXELS, PhotometricInterpretation="monochrome1"))
    np.testing.assert_array_equal(lower.pixels, 4095 - PIXELS)
    second = write_dicom(tmp_path / "b.dcm", PIXELS, WindowCenter=[5, 2048], WindowWidth=[0, 4096])
    assert read_mammogram(second).intensity_source == "window 2 of 2 (LINEAR)"
    several = dict(WindowCenter=2048, WindowWidth=4096, VOILUTFunction=["LINEAR_EXACT", "SIGMOID"])
    assert read_mammogram(write_dicom(tmp_path / "c.dcm", PIXELS, **several)).intensity_source.endswith(
        "(LINEAR_EXACT)"
    )


@pytest.mark.parametrize("value", [0, 7])
def test_blank_images_are_refused_in_inference(tmp_path: Path, value: int) -> None:
    path = write_dicom(tmp_path / "a.dcm", np.full((64, 64), value, np.uint16))
    with pytest.raises(UserError, match=rf"a\.dcm: blank, every pixel is {value} \(no window\); check the image"):
        LoadMammogramd("image")({"image": path})


SPACINGS = [
    (dict(ERMF=0, SID=660, SOD=600, IPS=[0.07, 0.07]), 0.07 * 600 / 660, "ImagerPixelSpacing/magnification"),
    (dict(ERMF=1.8, SID=660, SOD=600, IPS=[0.07, 0.07]), 0.07 / 1.8, "ImagerPixelSpacing/magnification"),
    (dict(ERMF=0, IPS=[0.07, 0.07]), 0.07, "ImagerPixelSpacing"),
    (dict(PS=[1, 1], IPS=[0.07, 0.07]), 0.07, "ImagerPixelSpacing"),
    (dict(PS=[70, 70]), None, "implausible PixelSpacing 70 x 70 mm"),
    (dict(PS=[70, 70], IPS=[70, 70]), None, "implausible PixelSpacing 70 x 70 mm"),
    (dict(PS=[1, 1]), None, "implausible PixelSpacing 1 x 1 mm"),
    (dict(PS=[0.0001, 0.0001]), None, "implausible PixelSpacing 0.0001 x 0.0001 mm"),
    (dict(PS=[0, 0]), None, "none"),
]
KEYWORDS = {
    "ERMF": "EstimatedRadiographicMagnificationFactor",
    "SID": "DistanceSourceToDetector",
    "SOD": "DistanceSourceToPatient",
    "IPS": "ImagerPixelSpacing",
    "PS": "PixelSpacing",
}


@pytest.mark.parametrize(("stated", "expected", "source"), SPACINGS)
def test_spacing_that_cannot_be_is_passed_over(
    tmp_path: Path, stated: dict[str, Any], expected: float | None, source: str
) -> None:
    attributes = {KEYWORDS[name]: value for name, value in stated.items()}
    image = read_mammogram(write_dicom(tmp_path / "a.dcm", PIXELS, **attributes))
    assert image.spacing_mm == (None if expected is None else pytest.approx((expected, expected)))
    assert image.spacing_source == source


def test_implausible_spacing_is_told_in_inference(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", "mammoseg"):
        LoadMammogramd("image")({"image": write_dicom(tmp_path / "a.dcm", PIXELS, PixelSpacing=[70, 70])})
    assert "a.dcm: no areas in mm²: implausible PixelSpacing 70 x 70 mm" in caplog.text
